"""A process that draws PDFs like the real one, but for those that are marked as hostile.

A PDF that ends in `%open crash` ends the process when it is opened, `%draw hang` keeps it busy for ever when a page is
drawn, `%draw lie` makes it send nonsense, `%draw flood` announce more than can be true, and so on.
"""

import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from app.pdf.protocol import FAULT, N_BYTES
from app.pdf.worker import Worker, main

COMMAND = (sys.executable, "-m", "tests.fake_pdf_worker")


def hostile(pdf: bytes, when: str, what: str) -> bytes:
    return pdf + f"%{when} {what}".encode()


class HostileWorker(Worker):
    """Does what the end of the PDF says."""

    mark = ""

    def answer(self, request: Mapping[str, Any], data: bytes) -> tuple[Mapping[str, Any], bytes]:
        if request["do"] == "open":
            self.mark = data.rpartition(b"%")[2].decode()
        when, _, what = self.mark.partition(" ")
        if when == request["do"]:
            if what == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "hang":
                threading.Event().wait()
            if what == "lie":
                return {"width": "wide", "height": {}}, b"no PNG"
            if what == "fault":
                return {FAULT: ["no", "such"]}, b""
            if what == "flood":
                return {"width": 1, "height": 1, N_BYTES: 1 << 60}, b""
        return super().answer(request, data)


if __name__ == "__main__":
    main(HostileWorker(), int(sys.argv[1]))
