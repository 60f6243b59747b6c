"""Files of Debian packages, downloaded by name and unpacked without being installed."""

import subprocess
import tempfile
from pathlib import Path

from recipes import CACHE


def unpacked(package: str) -> Path:
    """The folder that holds the package's files (`usr/share/...`); downloaded on first use.

    Raises RuntimeError where `apt-get` is missing or does not know the package.
    """
    folder = CACHE / "debian" / package
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as scratch:
        files = Path(scratch) / "files"
        _run("apt-get", "download", package, cwd=scratch)
        for archive in Path(scratch).glob("*.deb"):
            _run("dpkg-deb", "-x", str(archive), str(files), cwd=scratch)
        files.rename(folder)
    return folder


def _run(*command: str, cwd: str) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        message = f"{command[0]} is not installed: the recipes take their texts and fonts from Debian packages."
        raise RuntimeError(message) from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from error
