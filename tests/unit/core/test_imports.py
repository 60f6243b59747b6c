import gc
from collections.abc import Iterator

import pytest

from app.core.imports import heavy_imports


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_collects_no_garbage_in_the_block_and_again_after_it() -> None:
    with heavy_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collects_again_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), heavy_imports():
        raise ModuleNotFoundError
    assert gc.isenabled()


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_collects_again_after_blocks_of_two_threads_that_overlap(first_to_leave: int) -> None:
    blocks = [heavy_imports(), heavy_imports()]
    for block in blocks:
        block.__enter__()
    blocks.pop(first_to_leave).__exit__(None, None, None)
    blocks.pop().__exit__(None, None, None)
    assert gc.isenabled()


def test_leaves_it_off_for_those_who_turned_it_off() -> None:
    gc.disable()
    with heavy_imports():
        pass
    assert not gc.isenabled()
