"""The processors that this process may use."""

import math
import os
from functools import cache
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def n_processors() -> int:
    """Those that it is allowed to run on, which may be fewer than the machine has; at least 1.

    Where it has a share of their time only, as a container with `--cpus`, no more than that share, rounded up: more
    threads would be stopped together in the middle of their work.
    """
    n_allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(n_allowed, time_share())))


@cache
def time_share(groups: Path = CGROUPS, own: Path = OWN_CGROUP) -> float:
    """How many processors' time the control groups (version 2) that this process is in leave it; infinite: no limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return math.inf
    # One hierarchy has no name in version 2: `0::/system.slice/manyvec.service`; in a container it begins at its own.
    path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    group = groups / path
    return min(
        (_quota(folder) for folder in (group, *group.parents) if folder.is_relative_to(groups)), default=math.inf
    )


def _quota(group: Path) -> float:
    """From `150000 100000` (microseconds of a period) or `max 100000`."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
