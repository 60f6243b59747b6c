"""Importing what takes seconds to import, without paying for it ever after."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MANY_MODULES = 50
"""In one block: more than what a library imports at some later call, fewer than torch's compiler or a family's code."""


@contextmanager
def heavy_import() -> Iterator[None]:
    """Import torch, transformers and the like in this block: a third faster, and as `lasting_imports` has it.

    Garbage collection would look at all that comes again and again while it comes; it is switched off meanwhile.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        with lasting_imports():
            yield
    finally:
        gc.enable()


@contextmanager
def lasting_imports() -> Iterator[None]:
    """Keep what is imported in this block, if it is much, out of garbage collection for good.

    torch and transformers make some hundred thousand objects that stay, some of them when a model is first loaded or
    computed. With all of them a full collection stops the process for 0.1 to 0.2 s, every few seconds under load.
    What else there is at the end of the block, models among it, is let go as before when nobody refers to it any more;
    what of it refers to itself is not found again. That is why it is done only where modules came.
    """
    n_modules = len(sys.modules)
    yield
    if len(sys.modules) - n_modules >= MANY_MODULES:
        gc.freeze()
