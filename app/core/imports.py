"""Importing what takes seconds to import."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import torch or transformers in this block: it takes a third less time.

    They make a million objects that stay; garbage collection would look at all of them again and again meanwhile, and
    find nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Of blocks in two threads at once, only the first turns it on again.
        if was_enabled:
            gc.enable()
