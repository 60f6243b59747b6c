"""Manyvec: one server for text, page and image embeddings."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `uvicorn app:app` finds the application here; importing the package alone must stay cheap.
    if name == "app":
        from app import main

        return main.app
    raise AttributeError(name)
