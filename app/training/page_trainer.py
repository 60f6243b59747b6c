"""transformers' trainer for pairs of query and page."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from app.families.base import Prepared
from app.families.visual_model import VisualModel
from app.training.gradient_cache import backward
from app.training.multi_vector_loss import late_interaction_loss
from app.training.options import LEARNING_RATES
from app.training.page_dataset import PageBatch, PageReader
from app.training.pairs_split import TextPair
from app.training.resumable import ResumableMixin
from app.training.task import TrainingTask


def training_arguments(task: TrainingTask, folder: Path, n_pairs: int) -> TrainingArguments:
    """For transformers' trainer, which neither saves nor prints by itself."""
    options = task.options
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=options.batch_of(n_pairs),
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate or LEARNING_RATES[task.method],
        warmup_steps=options.warmup_steps(n_pairs),
        seed=options.seed,
        use_cpu=task.device == "cpu",
        dataloader_drop_last=options.drops_last(n_pairs),
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


class PageCollator:
    """Pairs to what `CachedTrainer` reads. In a dictionary, which the trainer expects."""

    def __init__(self, reader: PageReader) -> None:
        self._reader = reader

    def __call__(self, pairs: Sequence[TextPair]) -> dict[str, PageBatch]:
        return {"batch": self._reader.batch(pairs)}


class Embedder:
    """A model as a function to vectors that gradients go through."""

    def __init__(self, model: VisualModel) -> None:
        self._model = model

    def __call__(self, inputs: Sequence[Prepared]) -> list[Tensor]:
        """To [n_tokens, dim] each, without the rows of padding before them."""
        vectors = self._model.vectors(inputs)
        return [rows[-item.n_tokens :] for item, rows in zip(inputs, vectors, strict=True)]


class CachedTrainer(Trainer):  # type: ignore[misc]
    """transformers' trainer with a step that holds the activations of `part_size` inputs at once."""

    embed: Embedder
    part_size: int

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        batch: PageBatch = inputs["batch"]
        model.train()
        loss = partial(late_interaction_loss, relevant=batch.relevant)
        return backward(self.embed, batch.queries, batch.pages, loss, self.part_size)

    def floating_point_ops(self, inputs: Any) -> int:
        """Nobody asks."""
        return 0


class PageTrainer(ResumableMixin, CachedTrainer):
    """The trainer of page models."""
