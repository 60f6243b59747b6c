"""From a configured name to a model in service."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import ModelLoadError
from app.core.types import Embedding, Modality
from app.engine import loader as loader_module
from app.engine.config import ModelConfig
from app.engine.lane import PrepareThreads
from app.engine.loader import CheckpointLoader, warm_up
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import RunnerLimits
from app.families.base import Capability, Checkpoint, Prepared
from app.families.catalog import CATALOG
from tests.fakes import FakeModel


def test_models_are_loaded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers cannot be imported, nor models be built, in two threads at once."""
    loading = threading.Lock()

    class Family:
        @classmethod
        def load(cls, *_: Any) -> Any:
            assert loading.acquire(blocking=False), "another load was under way"
            # Long enough for the other thread to come in, were nothing to keep it out.
            threading.Event().wait(0.05)
            loading.release()
            return object()

    monkeypatch.setattr(loader_module, "load_class", lambda _: Family)
    monkeypatch.setattr(loader_module, "ModelRunner", lambda *_: "runner")
    monkeypatch.setattr(loader_module, "warm_up", lambda _: None)
    with ThreadPoolExecutor(2) as threads:
        loader = CheckpointLoader(
            lambda _: Checkpoint(Path()),
            device="cpu",
            dtype="float32",
            limits=RunnerLimits(),
            threads=PrepareThreads(1),
        )
        configs = [ModelConfig(name, "e5", name) for name in ("one", "two")]
        jobs = [threads.submit(loader.load, config, loader.fetch(config), EngineMetrics()) for config in configs]
        assert [job.result() for job in jobs] == ["runner", "runner"]


def test_what_goes_wrong_while_loading_is_a_clear_error_without_paths() -> None:
    def resolve(config: ModelConfig) -> Checkpoint:
        raise IsADirectoryError("/secret/models/config.json")

    loader = CheckpointLoader(resolve, device="cpu", dtype="float32", limits=RunnerLimits(), threads=PrepareThreads(1))
    with pytest.raises(ModelLoadError, match="The model one could not be loaded") as caught:
        loader.fetch(ModelConfig("one", "e5", "/secret/models"))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("family", ["e5", "dinov3", "colpali"])
def test_a_model_is_warmed_up_with_everything_it_can_do(family: str) -> None:
    done: set[Capability] = set()

    class Recording(FakeModel):
        spec = CATALOG[family]

        def encode(self, batch: Sequence[Prepared]) -> list[Embedding]:
            done.update(Capability(Modality(item.batch_key), output) for item in batch for output in item.outputs)
            return super().encode(batch)

    warm_up(Recording(CATALOG[family]))
    assert done == CATALOG[family].capabilities


def test_a_model_that_cannot_compute_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    class Family:
        @classmethod
        def load(cls, *_: Any) -> FakeModel:
            model = FakeModel(CATALOG["e5"])
            monkeypatch.setattr(model, "encode", lambda _: 1 / 0)
            return model

    monkeypatch.setattr(loader_module, "load_class", lambda _: Family)
    loader = CheckpointLoader(
        lambda _: Checkpoint(Path()), device="cpu", dtype="float32", limits=RunnerLimits(), threads=PrepareThreads(1)
    )
    with pytest.raises(ModelLoadError, match="could not be loaded"):
        loader.load(ModelConfig("one", "e5", "one"), Checkpoint(Path()), EngineMetrics())
