"""What a page model finds among pages that it was not trained on."""

from collections.abc import Mapping, Sequence

import numpy as np

from app.core.errors import OutOfMemoryError
from app.core.maxsim import maxsim_matrix
from app.core.types import FloatArray
from app.families.base import Prepared
from app.families.visual_model import VisualModel
from app.training.gradient_cache import parts
from app.training.multi_vector_loss import TEMPERATURE
from app.training.page_dataset import PageReader
from app.training.ranking import SCALE, RankingTask, figures
from app.training.resumable import NOT_FINITE
from app.training.task import TrainingFailedError


def measure_pages(task: RankingTask, reader: PageReader, part_size: int) -> Mapping[str, float]:
    """The figures of `task`, whose candidates are pages; `part_size` inputs are in memory at once.

    The loss is that of training with all candidates as one batch. Raises `TrainingFailedError` for infinite vectors.
    """
    queries = _encode(reader.model, [reader.query(query) for query in task.queries], part_size)
    pages = [rows for names in parts(task.candidates, part_size) for rows in _encode_pages(reader, names)]
    lengths = np.array([[len(query)] for query in queries], dtype=np.float32)
    scores: FloatArray = maxsim_matrix(queries, pages) / lengths
    if not np.isfinite(scores).all():
        raise TrainingFailedError(NOT_FINITE)
    # `figures` multiplies cosines by the inverse of another temperature; rankings do not depend on it.
    scores /= TEMPERATURE * SCALE
    return figures(scores, task)


def _encode_pages(reader: PageReader, names: Sequence[str]) -> list[FloatArray]:
    return _encode(reader.model, [reader.page(name) for name in names], len(names))


def _encode(model: VisualModel, inputs: Sequence[Prepared], part_size: int) -> list[FloatArray]:
    try:
        embeddings = [embedding for part in parts(inputs, part_size) for embedding in model.encode(part)]
    except OutOfMemoryError as error:
        # Its words are for a request to the server.
        raise MemoryError from error
    return [embedding.multi_vector.vectors for embedding in embeddings if embedding.multi_vector is not None]
