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
@pytest.mark.parametrize(("n_modules", "kept"), [(MANY_MODULES, True), (MANY_MODULES - 1, False)])
def test_what_is_imported_is_never_looked_at_by_garbage_collection(
    block: Callable[[], AbstractContextManager[None]],
    n_modules: int,
    kept: bool,
    import_modules: Callable[[int], None],
) -> None:
    """And where little is, nothing is kept: what refers to itself would stay in memory with every model that loads."""
    frozen_before = gc.get_freeze_count()
    with block():
        import_modules(n_modules)
        imported = [[] for _ in range(1000)]
    n_frozen = gc.get_freeze_count() - frozen_before
    assert n_frozen >= len(imported) if kept else n_frozen == 0


def test_collects_again_after_an_import_that_fails() -> None:
    with pytest.raises(ModuleNotFoundError), heavy_import():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_leaves_collection_off_for_those_who_turned_it_off() -> None:
    gc.disable()
    with heavy_import():
        pass
    assert not gc.isenabled()
