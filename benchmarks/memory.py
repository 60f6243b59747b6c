"""Resident memory of processes, read from Linux' /proc."""

from collections.abc import Callable
from pathlib import Path

BYTES_A_KB = 1024


def resident_bytes(pid: int | str = "self") -> int:
    """Memory of the process that is in RAM now."""
    return _status(pid, "VmRSS")


def peak_growth(run: Callable[[], object]) -> int:
    """Bytes by which this process grew at most while `run` ran."""
    # 5 resets the peak to what is in RAM now.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = resident_bytes()
    run()
    return max(0, _status("self", "VmHWM") - before)


def _status(pid: int | str, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * BYTES_A_KB
