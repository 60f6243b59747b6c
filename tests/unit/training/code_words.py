"""A language that no model knows: every word of a query has its translation in the passage, and that is all."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import IO, Any, cast

from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.task import DATASET_FILE, Reporter, TrainingTask

CODE = dict(
    zip(
        ["tram", "lamp", "soup", "cliff", "barn", "moss", "drum", "knot", "silk", "tusk", "gate", "fern"],
        [
            "river",
            "engine",
            "garden",
            "doctor",
            "window",
            "planet",
            "butter",
            "market",
            "forest",
            "pencil",
            "hat",
            "tea",
        ],
        strict=True,
    )
)
N_CHANCE = 220
"""Passages there are: three words of twelve."""


def pairs() -> list[dict[str, str]]:
    """Every three words in some order, with their translations in another; the same at every call."""
    shuffled = random.Random(0)
    found = []
    for words in map(list, combinations(CODE, 3)):
        query, passage = shuffled.sample(words, 3), shuffled.sample(words, 3)
        found.append({"query": " ".join(query), "positive": " ".join(CODE[word] for word in passage)})
    shuffled.shuffle(found)
    return found


def write_task(
    folder: Path,
    family: str,
    base: Path,
    options: TrainingOptions,
    lora: LoraOptions | None = None,
    device: str = "cpu",
) -> TrainingTask:
    """A job's folder with the pairs as its dataset."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(pair) + "\n" for pair in pairs())
    (folder / DATASET_FILE).write_text(lines, encoding="utf-8")
    method = Method.FULL if lora is None else Method.LORA
    task = TrainingTask("job", "my-model", family, base.name, base, method, device, options, lora)
    task.write(folder)
    return task


@dataclass
class Recorder(Reporter):
    """Keeps the messages."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(cast("IO[str]", None))

    def _write(self, message: Mapping[str, object]) -> None:
        self.messages.append(dict(message))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["event"] == event]

    def figures(self, when: str) -> dict[str, float]:
        [figures] = [message["figures"] for message in self.of("evaluation") if message["when"] == when]
        return figures
