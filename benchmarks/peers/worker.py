"""Runs one engine in a process of its own, told by lines of JSON on standard input what to embed.

    .venv-peers/bin/python -m benchmarks.peers.worker <engine> <checkpoint>

Request: `{"calls": [[text, ...], ...], "save": file or null}`; answer: `{"seconds": ...}` of all calls, one after
another. Vectors go to `save` as `.npy`, one row a text.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.peers.engines import ENGINES


def main() -> None:
    # Libraries print what they like; answers go to the real standard output.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    encode = ENGINES[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        started = time.perf_counter()
        vectors = [encode(texts) for texts in request["calls"]]
        seconds = time.perf_counter() - started
        if request["save"]:
            np.save(request["save"], np.concatenate(vectors))
        print(json.dumps({"seconds": seconds}), file=answers)


if __name__ == "__main__":
    main()
