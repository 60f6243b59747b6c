import gc
import sys
from collections.abc import Iterator

import pytest

from app.core.imports import heavy_import


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_imported_first_is_never_looked_at_by_garbage_collection() -> None:
    frozen_before = gc.get_freeze_count()
    with heavy_import("a_package_that_nobody_has"):
        assert not gc.isenabled()
        imported = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() - frozen_before >= len(imported)


def test_collects_again_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), heavy_import("a_package_that_nobody_has"):
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_does_nothing_once_the_package_is_imported() -> None:
    frozen_before = gc.get_freeze_count()
    with heavy_import(sys.__name__):
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen_before


def test_leaves_collection_off_for_those_who_turned_it_off() -> None:
    gc.disable()
    with heavy_import("a_package_that_nobody_has"):
        pass
    assert not gc.isenabled()
