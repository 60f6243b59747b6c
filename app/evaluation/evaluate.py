"""Which sets suit which model, and the whole table of several models."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from app.evaluation.client import ServedModel, ServerClient
from app.evaluation.errors import EvaluationError
from app.evaluation.pages import PageEvaluation
from app.evaluation.pictures import PictureEvaluation
from app.evaluation.report import Row, Table
from app.evaluation.sets import DATA, read_page_set, read_picture_set, read_text_set
from app.evaluation.text import TextEvaluation


class Evaluation(Protocol):
    """One set and what is measured on it."""

    @property
    def title(self) -> str: ...

    @property
    def note(self) -> str: ...

    def evaluate(self, client: ServerClient, model: ServedModel) -> list[Row]:
        """Rows of one model. Raises `EvaluationError`."""

    def anchors(self) -> list[Row]:
        """What any model is held against: chance, and ways that need no model."""


READERS: Mapping[str, tuple[Callable[[ServedModel], bool], Callable[[Path], Evaluation]]] = {
    "texts": (TextEvaluation.suits, lambda folder: TextEvaluation(read_text_set(folder))),
    "pages": (PageEvaluation.suits, lambda folder: PageEvaluation(read_page_set(folder))),
    "pictures": (PictureEvaluation.suits, lambda folder: PictureEvaluation(read_picture_set(folder))),
}
"""By name: does it suit a model, and the set in a folder."""

SETS = tuple(READERS)


def sets_for(model: ServedModel, wanted: Collection[str] = SETS) -> list[str]:
    """Names of the sets, of those that are wanted, that ask for what the model can do.

    Raises `EvaluationError` if there is none.
    """
    suiting = [name for name, (suits, _) in READERS.items() if suits(model)]
    chosen = [name for name in suiting if name in wanted]
    if not chosen:
        found = ", ".join(suiting) or "none"
        raise EvaluationError(
            f"None of the sets {', '.join(wanted)} suits {model.name}, which can do "
            f"{', '.join(sorted(model.capabilities))}. Sets for it: {found}."
        )
    return chosen


def evaluate(
    client: ServerClient, models: Sequence[str], wanted: Collection[str] = SETS, folder: Path = DATA
) -> list[Table]:
    """One table a set, with the rows of every model that it suits and of its anchors. Raises `EvaluationError`."""
    chosen = [(model, sets_for(model, wanted)) for model in map(client.model, models)]
    tables = []
    for name, (_, read) in READERS.items():
        suited = [model for model, names in chosen if name in names]
        if suited:
            evaluation = read(folder)
            rows = [row for model in suited for row in _rows(client, model, evaluation)]
            tables.append(Table(evaluation.title, evaluation.note, [*rows, *evaluation.anchors()]))
    return tables


def _rows(client: ServerClient, model: ServedModel, evaluation: Evaluation) -> list[Row]:
    client.load(model.name)
    return evaluation.evaluate(client, model)
