"""From a configured name to a model in service."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.errors import ModelLoadError, OutOfMemoryError
from app.core.types import Embedding, Modality, Output, TextInput
from app.engine import loader as loader_module
from app.engine.config import ModelConfig
from app.engine.lane import PrepareThreads
from app.engine.loader import WARM_UP_TOKENS, CheckpointLoader, warm_up
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import RunnerLimits
from app.engine.registry import ModelRegistry
from app.families.base import Capability, Checkpoint, Prepared
from app.families.catalog import CATALOG
from app.starter.text import build_e5
from tests.fakes import FakeModel
from tests.unit.families.adapters import AdapterFolders, text_adapter


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


@pytest.mark.parametrize(("device", "full"), [("cpu", False), ("cuda:0", True)])
def test_on_a_gpu_a_large_batch_warms_up_too(device: str, full: bool) -> None:
    sizes = []

    class Full(FakeModel):
        def encode(self, batch: Sequence[Prepared]) -> list[Embedding]:
            sizes.append(sum(item.n_tokens for item in batch))
            if len(batch) > 1:
                raise OutOfMemoryError("A small GPU has no room for it, which is no reason not to load.")
            return super().encode(batch)

    model = Full(CATALOG["e5"])
    model.info = replace(model.info, device=device)
    warm_up(model)
    assert (sizes[-1] > WARM_UP_TOKENS // 2) == full


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


def test_an_adapter_needs_only_its_own_memory_while_its_base_is_loaded(
    adapter: AdapterFolders, threads: PrepareThreads
) -> None:
    checkpoints = {"base": Checkpoint(adapter.base), "adapter": adapter.checkpoint}
    loader = CheckpointLoader(
        lambda config: checkpoints[config.name], device="cpu", dtype="float32", limits=RunnerLimits(), threads=threads
    )
    configs = {name: ModelConfig(name, "e5", name) for name in checkpoints}

    def needed() -> dict[str, int]:
        return {name: loader.memory_needed(configs[name], checkpoint) for name, checkpoint in checkpoints.items()}

    nothing_loaded = needed()
    assert nothing_loaded["adapter"] > nothing_loaded["base"] > 0
    runner = loader.load(configs["base"], checkpoints["base"], EngineMetrics())
    assert needed() == {"base": 0, "adapter": nothing_loaded["adapter"] - nothing_loaded["base"]}
    runner.close()
    assert needed() == nothing_loaded


@pytest.mark.parametrize(
    ("dtype", "backend", "share"),
    [("bfloat16", "auto", 1), ("int8", "auto", 1), ("bfloat16", "torch", 0.5), ("float16", "auto", 0.5)],
)
def test_dtypes_that_are_made_of_float32_need_as_much(
    adapter: AdapterFolders, threads: PrepareThreads, dtype: Any, backend: Any, share: float
) -> None:
    checkpoint = Checkpoint(adapter.base)
    loader = CheckpointLoader(
        lambda config: checkpoint, device="cpu", dtype="float32", limits=RunnerLimits(), threads=threads
    )
    exact = loader.memory_needed(ModelConfig("e5", "e5", "e5", dtype="float32"), checkpoint)
    other = loader.memory_needed(ModelConfig("e5", "e5", "e5", dtype=dtype, backend=backend), checkpoint)
    assert other == share * exact > 0


async def test_a_base_and_its_adapters_are_served_and_unloaded_in_any_order(
    adapter: AdapterFolders, threads: PrepareThreads
) -> None:
    checkpoints = {"base": Checkpoint(adapter.base), "adapter": adapter.checkpoint}
    loader = CheckpointLoader(
        lambda config: checkpoints[config.name], device="cpu", dtype="float32", limits=RunnerLimits(), threads=threads
    )
    registry = ModelRegistry(
        [ModelConfig(name, "e5", name, backend="onnxruntime") for name in checkpoints], loader, EngineMetrics()
    )

    def in_memory() -> int:
        return sum(status.memory_bytes or 0 for status in registry.statuses())

    async def dense(name: str) -> np.ndarray:
        async with registry.use(name) as runner:
            (embedding,) = await runner.encode([TextInput("x", outputs=frozenset({Output.DENSE}))])
        assert embedding.dense is not None
        return embedding.dense

    await registry.load("base")
    base_bytes = in_memory()
    alone, adapted = await asyncio.gather(dense("base"), dense("adapter"))
    both = in_memory()
    assert base_bytes < both < 1.5 * base_bytes
    assert not np.allclose(alone, adapted, atol=1e-3)
    async with registry.use("adapter"):
        await registry.unload("base")
        assert in_memory() == both
        np.testing.assert_array_equal(await dense("adapter"), adapted)
    np.testing.assert_array_equal(await dense("base"), alone)
    await registry.unload("adapter")
    assert in_memory() == base_bytes
    await registry.close()


@pytest.fixture
def adapter(tmp_path: Path) -> AdapterFolders:
    (tmp_path / "base").mkdir()
    build_e5(tmp_path / "base")
    return text_adapter(tmp_path / "base", tmp_path, "every layer")


@pytest.fixture
def threads() -> Iterator[PrepareThreads]:
    threads = PrepareThreads(1)
    yield threads
    threads.close()
