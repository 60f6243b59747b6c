"""What colpali-engine's losses say: run by `.venv-oracle` as `visual_losses.py REQUEST.json ANSWER.npz`.

The request: `batches` {label: {"queries", "pages"}}, nested lists [n, n_rows, dim] without padding. The answer holds
the losses under `{label}/{name}`, and the queries' gradients under `{label}/{name}.gradient`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import missing_operators  # noqa: F401 - before colpali_engine
import numpy as np
import torch
from colpali_engine.loss.late_interaction_losses import ColbertLoss, ColbertPairwiseCELoss

LOSSES = {
    "in batch": ColbertLoss(temperature=0.02, normalize_scores=True),
    "in batch, sums": ColbertLoss(temperature=1.0, normalize_scores=False),
    "pairwise": ColbertPairwiseCELoss(temperature=1.0, normalize_scores=False),
    "pairwise, means": ColbertPairwiseCELoss(temperature=0.02, normalize_scores=True),
}


def main(request: dict[str, Any]) -> dict[str, np.ndarray]:
    return {
        f"{label}/{key}": np.asarray(value)
        for label, batch in request["batches"].items()
        for key, value in describe(batch)
    }


def describe(batch: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, loss in LOSSES.items():
        queries = torch.tensor(batch["queries"], requires_grad=True)
        value = loss(queries, torch.tensor(batch["pages"]))
        value.backward()
        yield name, value.detach()
        yield f"{name}.gradient", queries.grad


if __name__ == "__main__":
    np.savez(sys.argv[2], **main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
