import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType

import pytest

from app.core.imports import MANY_MODULES, heavy_import, lasting_imports


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def import_modules(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def import_modules(n: int) -> None:
        for number in range(n):
            monkeypatch.setitem(sys.modules, f"a_module_that_nobody_has_{number}", ModuleType("a"))

    return import_modules


def test_collection_is_off_during_an_import() -> None:
    with heavy_import():
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.parametrize("block", [heavy_import, lasting_imports])
def test_what_is_imported_is_never_looked_at_by_garbage_collection(
    block: Callable[[], AbstractContextManager[None]], import_modules: Callable[[int], None]
) -> None:
    frozen_before = gc.get_freeze_count()
    with block():
        import_modules(MANY_MODULES)
        imported = [[] for _ in range(1000)]
    assert gc.get_freeze_count() - frozen_before >= len(imported)


@pytest.mark.parametrize("block", [heavy_import, lasting_imports])
def test_nothing_is_kept_where_nothing_is_imported(
    block: Callable[[], AbstractContextManager[None]], import_modules: Callable[[int], None]
) -> None:
    """Or what refers to itself would stay in memory with every model that is loaded."""
    frozen_before = gc.get_freeze_count()
    with block():
        import_modules(MANY_MODULES - 1)
    assert gc.get_freeze_count() == frozen_before


def test_collects_again_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), heavy_import():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_leaves_collection_off_for_those_who_turned_it_off() -> None:
    gc.disable()
    with heavy_import():
        pass
    assert not gc.isenabled()
