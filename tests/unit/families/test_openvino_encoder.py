"""What is OpenVINO's alone; that it computes what the other ways do is in test_encoders.py."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import torch
from torch import Tensor

from app.core.errors import ModelLoadError
from app.families import encoders
from app.families.base import LoadOptions
from app.families.encoders import open_encoder, with_backend
from app.families.onnx_encoder import OnnxEncoder
from app.families.torch_model import memory_bytes
from app.settings import REPO
from tests.unit.families.backends import skip_without
from tests.unit.families.encoder_models import encoder, on_openvino, states, texts


def test_openvino_computes_two_batches_at_once() -> None:
    plain = encoder("bert")
    layers = memory_bytes(plain.encoder)
    run = on_openvino(plain)
    ragged = [texts(5, 90), texts(700, 30)]
    alone = [states(run, batch) for batch in ragged]
    once = run.memory_bytes
    both = Barrier(2)

    def compute(batch: list[Tensor]) -> list[Tensor]:
        both.wait()
        return states(run, batch)

    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(compute, ragged * 50))
    for number, found in enumerate(together):
        for one, two in zip(found, alone[number % 2], strict=True):
            assert torch.equal(one, two)
    # Each of the two threads has its own, and there is no third.
    assert run.memory_bytes == once + layers


@pytest.mark.parametrize("bfloat16", [False, True])
def test_memory_counts_the_weights_that_are_kept_beside_those_laid_out(bfloat16: bool) -> None:
    skip_without("openvino")
    from app.families.openvino_encoder import OpenVinoEncoder

    plain = encoder("bert")
    layers, tables = memory_bytes(plain.encoder), memory_bytes(plain.embeddings)
    laid_out = layers // 2 if bfloat16 else layers
    run = OpenVinoEncoder(plain, bfloat16=bfloat16)
    assert run.memory_bytes == tables + layers + laid_out
    # Those of a file can leave memory.
    plain.is_mapped = True
    run = OpenVinoEncoder(plain, bfloat16=bfloat16)
    assert run.memory_bytes == tables + laid_out
    # Adapters are computed by ONNX Runtime in float32.
    run.adapted({})
    assert run.memory_bytes == tables + layers


def test_importing_openvino_reports_to_nobody(tmp_path: Path) -> None:
    skip_without("openvino")
    script = "import sys, app.families.openvino_encoder; print([name for name in sys.modules if 'telemetry' in name])"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HOME": str(tmp_path)},
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


def test_where_openvino_is_not_installed_it_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "app.families.openvino_encoder", None)
    assert isinstance(open_encoder(encoder("bert"), with_backend(LoadOptions(), "gelu")), OnnxEncoder)
    with pytest.raises(ModelLoadError, match="OpenVINO cannot be imported here"):
        open_encoder(encoder("bert"), LoadOptions(backend="openvino"))
