"""Make the project's virtual environments and install its pinned requirements.

    python3 -m scripts.setup            what the server needs, in .venv
    python3 -m scripts.setup --dev      and what tests and checks need, partly in .venv-oracle
    python3 -m scripts.setup --gpu      and what only an NVIDIA GPU uses
    python3 -m scripts.setup --bench    and what `make bench` compares with, in .venv-peers and .venv-infinity

Each layer leaves a stamp, so a run that has nothing to do takes a fraction of a second. Needs Python's standard
library only; pip's own output goes to `.venv/setup.log` and is shown when something fails.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from scripts.chromium import apt_commands, find_chromium
from scripts.torch_build import TorchBuild, choose_torch_build, pip_would_install

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent
MIN_PYTHON = (3, 11)
PIP = "pip==26.3"
UV = "uv==0.13.8"

PIP_COMMAND = ("-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")

REQUIREMENTS = ROOT / "requirements.txt"
DEV = ROOT / "requirements-dev.txt"
GPU = ROOT / "requirements-gpu.txt"
ORACLE = ROOT / "tests/parity/oracle/requirements.txt"
PEERS = {
    ".venv-peers": ROOT / "requirements-bench.txt",
    ".venv-infinity": ROOT / "benchmarks/peers/requirements-infinity.txt",
}


class Environment:
    """A virtual environment in a folder of the project, and the log of what pip did in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.log = folder / "setup.log"

    def create(self, python: str | Path, *options: str) -> None:
        """Make it anew unless it works where it stands: a moved clone or a removed Python breaks it."""
        config = self.folder / "pyvenv.cfg"
        if config.is_file() and str(self.folder) in config.read_text() and works(self.python):
            return
        say(f"Making {self.folder.name}")
        done = subprocess.run([python, "-m", "venv", "--clear", *options, self.folder], check=False)
        if done.returncode:
            stop("Python's venv module does not work here. On Debian and Ubuntu: apt install python3-venv")

    @property
    def site_packages(self) -> Path:
        return next(self.folder.glob("lib/python3.*/site-packages"))

    def layer(self, name: str, files: Sequence[Path], install: Callable[[], None]) -> None:
        """Run `install` unless it has run before with the same contents of `files`."""
        stamp = self.folder / f".{name}-installed"
        wanted = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        stamp.unlink(missing_ok=True)
        install()
        stamp.write_text(wanted)

    def pip_install(self, what: str, *arguments: str | Path) -> None:
        """Install with pip, telling the user `what` it is. Ends the program on failure."""
        if not self.run(what, self.python, *PIP_COMMAND, *arguments):
            self.fail()

    def run(self, what: str, *command: str | Path) -> bool:
        """Run a command with its output in the log, showing `what` and how long it took. True on success."""
        print(f"  {what} ... ", end="", flush=True)
        started = time.monotonic()
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        print(f"{time.monotonic() - started:.0f} s" if done.returncode == 0 else "failed", flush=True)
        return done.returncode == 0

    def fail(self) -> NoReturn:
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        stop("\n".join([*tail, "", f"Setup failed; all of pip's output is in {self.log}."]))


def main() -> None:
    if sys.version_info < MIN_PYTHON:
        go_on_with_newer_python()
    arguments = parse_arguments(sys.argv[1:])
    venv = Environment(ROOT / ".venv")
    venv.create(sys.executable)
    venv.layer("runtime", [REQUIREMENTS], lambda: install_runtime(venv, arguments.torch))
    if arguments.gpu:
        venv.layer("gpu", [REQUIREMENTS, GPU], lambda: install_gpu(venv))
    if arguments.dev:
        venv.layer("dev", [REQUIREMENTS, DEV], lambda: install_dev(venv))
        install_on_top(venv, ".venv-oracle", ORACLE, [REQUIREMENTS, DEV, ORACLE])
        install_chromium(venv)
    if arguments.bench:
        for folder, requirements in PEERS.items():
            install_on_top(venv, folder, requirements, [REQUIREMENTS, requirements])


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--dev", action="store_true", help="also install what tests and checks need")
    parser.add_argument("--gpu", action="store_true", help="also install what only an NVIDIA GPU uses")
    parser.add_argument("--bench", action="store_true", help="also install what the benchmarks compare with")
    parser.add_argument(
        "--torch",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="which build of torch; auto: CUDA if this machine has an NVIDIA GPU (default)",
    )
    return parser.parse_args(arguments)


def install_runtime(venv: Environment, torch: str) -> None:
    say("Installing what the server needs; the first time takes one to five minutes and 1.9 GB of disk")
    venv.pip_install("pip itself", PIP)
    install_torch(venv, torch)
    venv.pip_install("transformers, FastAPI and the rest", "-r", REQUIREMENTS)


def install_torch(venv: Environment, wanted: str) -> None:
    """Install torch's build for this machine; requirements.txt, installed next, finds it already there."""
    torch = ("-c", REQUIREMENTS, "torch")
    if wanted == "auto":
        wanted = "cuda" if has_nvidia_gpu() else "cpu"
    build = choose_torch_build(wanted, lambda: pip_would_install(venv.python, *torch))
    if build is TorchBuild.CPU_BY_UV:
        venv.pip_install("uv, which knows where torch's CPU builds are", UV)
        uv = (venv.python, "-m", "uv", "pip", "install", "--python", venv.python)
        if venv.run("torch, CPU build (200 MB)", *uv, "--torch-backend", "cpu", *torch):
            return
        say("  The CPU builds cannot be reached. The registry's build works on a CPU too, but is a 3 GB download.")
    venv.pip_install("torch, CPU build (200 MB)" if build is TorchBuild.CPU_BY_PIP else "torch for CUDA (3 GB)", *torch)


def install_gpu(venv: Environment) -> None:
    say("Installing what an NVIDIA GPU uses; compiling flash-attn can take an hour and more")
    pins = ("-c", REQUIREMENTS, "-c", GPU)
    venv.pip_install("bitsandbytes and what flash-attn is built with", *pins, "bitsandbytes", "ninja", "wheel")
    # flash-attn compiles against the torch that is installed, so not in pip's isolated build environment.
    venv.pip_install("flash-attn", "--no-build-isolation", "-c", REQUIREMENTS, "-r", GPU)


def install_dev(venv: Environment) -> None:
    say("Installing what tests and checks need")
    venv.pip_install("pytest, ruff, mypy and the rest", "-c", REQUIREMENTS, "-r", DEV)


def install_chromium(venv: Environment) -> None:
    """The playground's tests need a browser; without one they are skipped."""
    if find_chromium():
        return
    say("Installing Chromium, which the playground's tests drive")
    commands = apt_commands()
    if not (commands and all(venv.run(" ".join(command[:2]), *command) for command in commands)):
        say("  The playground's tests will be skipped: they need Chromium (Debian's package is called chromium).")


def install_on_top(venv: Environment, folder: str, requirements: Path, stamped: Sequence[Path]) -> None:
    """Packages that cannot live in `venv`, in an environment of their own that sees `venv` behind them."""
    environment = Environment(ROOT / folder)
    environment.create(venv.python, "--without-pip")

    def install() -> None:
        say(f"Installing {requirements.relative_to(ROOT)} in {folder}")
        (environment.site_packages / "manyvec.pth").write_text(f"{venv.site_packages}\n")
        environment.pip_install("its packages", "--no-deps", "-r", requirements)

    environment.layer("packages", stamped, install)


def has_nvidia_gpu() -> bool:
    if Path("/proc/driver/nvidia/version").exists():
        return True
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True, check=False).returncode == 0


def go_on_with_newer_python() -> NoReturn:
    """Start again with a Python that is new enough, or say that there is none."""
    for minor in range(20, MIN_PYTHON[1] - 1, -1):
        python = shutil.which(f"python3.{minor}")
        if python and works(python):
            os.execv(python, [python, "-m", "scripts.setup", *sys.argv[1:]])
    stop(f"Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer is needed; {sys.executable} is {sys.version.split()[0]}.")


def works(python: str | Path) -> bool:
    """Whether that Python starts."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def say(text: str) -> None:
    print(text, flush=True)


def stop(text: str) -> NoReturn:
    sys.exit(text)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        stop(f"{error.stderr}\nSetup failed.")
    except KeyboardInterrupt:
        stop("\nStopped. The same command goes on from here.")
