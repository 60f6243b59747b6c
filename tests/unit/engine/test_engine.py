"""Which model answers a request."""

from collections.abc import Iterator

import pytest

from app.core.errors import ModelNotFoundError, UnsupportedTaskError
from app.core.types import Modality, Output
from app.engine.config import ModelConfig
from app.engine.engine import Engine
from app.engine.lane import PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.registry import ModelRegistry
from tests.fakes import FakeLoader

METRICS = EngineMetrics()
CONFIGS = [
    ModelConfig("e5", "e5", "org/e5"),
    ModelConfig("m3", "bge-m3", "BAAI/bge-m3"),
    ModelConfig("pali", "colpali", "vidore/colpali"),
]
DENSE = (Modality.TEXT, Output.DENSE)
SPARSE = (Modality.TEXT, Output.SPARSE)
PAGES = (Modality.IMAGE, Output.MULTI_VECTOR)


@pytest.fixture
def threads() -> Iterator[PrepareThreads]:
    threads = PrepareThreads(1)
    yield threads
    threads.close()


@pytest.mark.parametrize(
    ("requested", "needs", "prefer", "picked"),
    [
        (None, [DENSE], "", "e5"),
        (None, [DENSE], "bge-m3", "e5"),
        (None, [SPARSE], "", "m3"),
        (None, [PAGES], "colqwen2.5", "pali"),
        ("baai/BGE-M3", [DENSE], "", "m3"),
        ("m3", [DENSE, SPARSE], "", "m3"),
    ],
)
def test_pick(
    threads: PrepareThreads,
    requested: str | None,
    needs: list[tuple[Modality, Output]],
    prefer: str,
    picked: str,
) -> None:
    engine = Engine(ModelRegistry(CONFIGS, FakeLoader(), METRICS), threads, METRICS, default_text="e5")
    assert engine.pick(requested, *needs, prefer=prefer) == picked


def test_pick_takes_a_trained_model_first(threads: PrepareThreads) -> None:
    untrained = ModelConfig("random", "colpali", "random", trained=False)
    other = ModelConfig("learned", "colqwen2", "learned")
    engine = Engine(ModelRegistry([untrained, other], FakeLoader(), METRICS), threads, METRICS)
    assert engine.pick(None, PAGES, prefer="colpali") == "learned"
    assert engine.pick("random", PAGES) == "random"


def test_pick_names_the_models_that_can(threads: PrepareThreads) -> None:
    engine = Engine(ModelRegistry(CONFIGS, FakeLoader(), METRICS), threads, METRICS, default_text="e5")
    with pytest.raises(UnsupportedTaskError, match="Models that can: m3"):
        engine.pick("e5", SPARSE)
    with pytest.raises(ModelNotFoundError, match="e5, m3, pali"):
        engine.pick("gpt")
