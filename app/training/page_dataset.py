"""A job's pairs of query and page: read, and prepared for the model batch by batch.

In a `TextPair` the positive is the file name of the page's image.
"""

import json
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.core.errors import ManyvecError
from app.core.images import decode_image
from app.core.types import ImageInput, TextInput
from app.families.base import Prepared
from app.families.visual_model import VisualModel
from app.training.pairs_split import TextPair
from app.training.task import DATASET_FILE, TrainingFailedError


@dataclass(frozen=True, slots=True)
class PageBatch:
    """Pairs as the model reads them."""

    queries: list[Prepared]
    pages: list[Prepared]
    relevant: Tensor
    """[n_pairs, n_pairs] bool: whether the page of a column answers the query of a row."""


@dataclass(frozen=True, slots=True)
class PageReader:
    """Prepares a job's queries and pages."""

    model: VisualModel
    images: Path
    """Folder of the pages."""
    pages_of: Mapping[str, Set[str]]
    """Every query of the dataset, and the pages that answer it."""

    def batch(self, pairs: Sequence[TextPair]) -> PageBatch:
        """Raises `TrainingFailedError` as `page` does."""
        queries = [self.query(pair.query) for pair in pairs]
        pages = [self.page(pair.positive) for pair in pairs]
        return PageBatch(queries, pages, self.relevant(pairs))

    def query(self, text: str) -> Prepared:
        return self.model.prepare_text(TextInput(text))

    def page(self, name: str) -> Prepared:
        """Raises `TrainingFailedError` if the image is gone, broken, or of a shape that the model does not read."""
        try:
            # Its size was checked when it was uploaded.
            image = decode_image((self.images / name).read_bytes(), "The image", max_pixels=sys.maxsize)
            return self.model.prepare_image(ImageInput(b""), image)
        except OSError as error:
            raise TrainingFailedError(f"The page {name} of the dataset is missing. Start the job anew.") from error
        except ManyvecError as error:
            raise TrainingFailedError(f"The page {name} of the dataset cannot be read: {error.message}") from error

    def relevant(self, pairs: Sequence[TextPair]) -> Tensor:
        """As in `PageBatch`; a batch may have a page twice, or a query."""
        rows = [[other.positive in self.pages_of[one.query] for other in pairs] for one in pairs]
        return torch.tensor(rows)


def read_dataset(folder: Path) -> list[TextPair]:
    """The pairs in a job's folder. Raises `TrainingFailedError`."""
    try:
        lines = (folder / DATASET_FILE).read_bytes().splitlines()
        return [TextPair(row["query"], row["image"]) for row in map(json.loads, lines)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise TrainingFailedError("The job's dataset is missing or broken. Start the job anew.") from error


def pages_by_query(pairs: Sequence[TextPair]) -> dict[str, set[str]]:
    """As in `PageReader`."""
    found: dict[str, set[str]] = {}
    for pair in pairs:
        found.setdefault(pair.query, set()).add(pair.positive)
    return found
