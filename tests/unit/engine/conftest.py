from collections.abc import Iterator

import pytest

from app.engine.lane import PrepareThreads
from tests.unit.engine.scripted_loader import ScriptedLoader


@pytest.fixture
def threads() -> Iterator[PrepareThreads]:
    threads = PrepareThreads(2)
    yield threads
    threads.close()


@pytest.fixture
def loader(threads: PrepareThreads) -> ScriptedLoader:
    return ScriptedLoader(threads)
