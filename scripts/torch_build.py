"""Which build of torch to install, and from where.

On Linux the package registry's torch brings gigabytes of CUDA libraries. Without an NVIDIA GPU we want the CPU build:
pip may be set up to find one by itself (macOS always is); otherwise uv knows the index that torch's authors keep.
"""

from __future__ import annotations

import json
import re
import subprocess
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

CUDA_PACKAGE = re.compile(r"nvidia-|cuda-|triton")


class TorchBuild(Enum):
    """A build of torch and the tool that gets it."""

    CPU_BY_PIP = "pip finds a CPU build"
    CPU_BY_UV = "pip would take CUDA; uv finds a CPU build"
    CUDA = "CUDA, by pip"


def choose_torch_build(wanted: str, pip_would_install: Callable[[], Iterable[str]]) -> TorchBuild:
    """Decide for `wanted`, `cpu` or `cuda`; `pip_would_install` names the packages that pip would add for torch."""
    if wanted == "cuda":
        return TorchBuild.CUDA
    brings_cuda = any(CUDA_PACKAGE.match(name.lower()) for name in pip_would_install())
    return TorchBuild.CPU_BY_UV if brings_cuda else TorchBuild.CPU_BY_PIP


def pip_would_install(python: Path, *arguments: str | Path) -> list[str]:
    """Names of the packages that `pip install *arguments` would add. Raises `CalledProcessError`."""
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return packages_in(json.loads(done.stdout))


def packages_in(report: dict[str, Any]) -> list[str]:
    """Names of the packages in an installation report of pip's."""
    return [item["metadata"]["name"] for item in report["install"]]
