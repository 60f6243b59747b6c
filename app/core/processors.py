"""The processors that this process may use."""

import os


def n_processors() -> int:
    """Those that it is allowed to run on, which may be fewer than the machine has; at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
