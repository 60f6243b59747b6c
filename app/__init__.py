"""Manyvec: one server for text, page and image embeddings."""

import os
from typing import Any

# Read when numpy is imported. MaxSim brings threads of its own; those of numpy's BLAS would only get in their way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `uvicorn app:app` finds the application here; importing the package alone must stay cheap.
    if name == "app":
        from app import main

        return main.app
    raise AttributeError(name)
