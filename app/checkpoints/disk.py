"""Writing files that are complete once they can be seen."""

import errno
import os
from pathlib import Path


def sync(file: Path) -> None:
    """Return when the file's content is on the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def is_full(error: BaseException | None) -> bool:
    """True if a full disk is the error or one of its causes; native libraries tell it in words only."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
