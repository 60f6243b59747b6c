"""Importing what takes seconds to import."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy_import(package: str) -> Iterator[None]:
    """Import `package` (torch, transformers) in this block for the first time: a third faster, and cheaper ever after.

    It makes some hundred thousand objects that stay. Garbage collection would look at all of them again and again while
    they come, and with every full collection later, a fifth of a second each time. Once the package is imported the
    block does nothing, so a model that is loaded is never among the objects that are kept for good.
    """
    if package in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
