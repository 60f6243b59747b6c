"""Manyvec: one server for text, page and image embeddings."""

import os
from typing import Any

from app.core.processors import n_processors, time_share

# How libraries use threads; each reads its variable when it is loaded or first used, which is later.
# MaxSim brings threads of its own; those of numpy's BLAS would only get in their way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Texts are tokenized in threads of ours: in those that the tokenizers share a query would wait for an ingest.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if time_share() < (os.cpu_count() or 1):
    # OpenMP does not know that a container may have less time than processors.
    os.environ.setdefault("OMP_NUM_THREADS", str(n_processors()))
if "OMP_WAIT_POLICY" not in os.environ:
    # How often an idle thread of torch's looks for work before it sleeps: for some 0.1 ms. By default it does for
    # milliseconds, in which ONNX Runtime and whatever answers miss its core (docs/decisions/0009-onnx-runtime.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `uvicorn app:app` finds the application here; importing the package alone must stay cheap.
    if name == "app":
        from app import main

        return main.app
    raise AttributeError(name)
