"""Training of page models: LoRA with late interaction over in-batch negatives, as ColPali was trained."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from transformers import PrinterCallback, set_seed

from app.families.base import LoadOptions
from app.families.catalog import CATALOG, load_class
from app.families.visual_model import N_AUGMENTATION_TOKENS, VisualModel
from app.training.enough import require_enough
from app.training.folders import IMAGES
from app.training.older_adapter import copy_preparing_files, older_adapter, require_trainable, weights_bytes
from app.training.options import LoraOptions, Method
from app.training.page_adapter import add_lora, put_in_4_bits, write_adapter, write_merged
from app.training.page_dataset import PageReader, pages_by_query, read_dataset
from app.training.page_ranking import measure_pages
from app.training.page_trainer import Embedder, PageCollator, PageTrainer, training_arguments
from app.training.pairs_split import FEWEST_TO_SPLIT, Split, TextPair, split
from app.training.qlora import qlora_problem
from app.training.ranking import ranking_task
from app.training.resumable import newest_checkpoint, require_finite, trained_parameters
from app.training.task import CHECKPOINTS, RESULT, Reporter, TrainingFailedError, TrainingTask
from app.training.whole import writing

MAX_QUERY_TOKENS = 256
"""Unless another number is asked for."""


def train_pages(task: TrainingTask, folder: Path, reporter: Reporter) -> None:
    """Train an adapter on the dataset in the job's folder and write the result there, whole.

    Goes on from the newest checkpoint if there is one. Raises `TrainingFailedError`, and what loading a model raises.
    """
    if task.lora is None:
        raise TrainingFailedError("Page models are trained with LoRA or Q-LoRA, not in full.")
    reporter.stage("reading the dataset")
    pairs = read_dataset(folder)
    require_enough(pairs, task.options, "images")
    parted = split(pairs, task.options.eval_fraction, task.options.seed)
    if not parted.held_out and task.options.eval_fraction > 0:
        reporter.stage(
            f"training on all pairs, without figures: fewer than {FEWEST_TO_SPLIT}, or all linked by queries or pages"
        )
    reporter.stage("loading the model")
    set_seed(task.options.seed)
    reader = PageReader(load_trainable(task), folder / IMAGES, pages_by_query(pairs))
    training = PageTraining(task, task.lora, folder, reporter, reader)
    training.run(parted)


def load_trainable(task: TrainingTask) -> VisualModel:
    """The base, frozen, with an older adapter merged into it. Raises `TrainingFailedError`, `ModelLoadError`."""
    on_gpu = task.device.startswith("cuda")
    require_trainable(task)
    options = LoadOptions(task.device, "bfloat16" if on_gpu and _has_bfloat16() else "float32")
    family = cast(type[VisualModel], load_class(CATALOG[task.family]))
    model = family.load_unpacked(task.checkpoint, options)
    most = N_AUGMENTATION_TOKENS + (task.options.max_seq_length or MAX_QUERY_TOKENS)
    model.info = replace(model.info, max_tokens=min(model.info.max_tokens, most))
    if task.method is Method.QLORA:
        require_qlora(task.device)
        put_in_4_bits(model.module)
    return model


def recompute_activations(module: Any) -> None:
    """Let the backward pass compute the language model's activations again: those of a large one would not fit.

    To be done when the adapter is on: peft would let gradients through the vision tower as well, where nothing learns.
    """
    module.language_model.gradient_checkpointing_enable({"use_reentrant": False})


def require_qlora(device: str) -> None:
    """Raises `TrainingFailedError` that says why it does not run there, and what to use."""
    if problem := qlora_problem(device):
        raise TrainingFailedError(problem)


def _has_bfloat16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


class PageTraining:
    """A model with an adapter, and what is done with it in turn."""

    def __init__(
        self, task: TrainingTask, lora: LoraOptions, folder: Path, reporter: Reporter, reader: PageReader
    ) -> None:
        self._task = task
        self._lora = lora
        self._folder = folder
        self._reporter = reporter
        self._reader = reader
        self._adapted: PeftModel = add_lora(reader.model.module, task.family, lora)
        if task.device.startswith("cuda"):
            recompute_activations(reader.model.module)

    def run(self, pairs: Split) -> None:
        if newest_checkpoint(self._folder / CHECKPOINTS) is None:
            self._measure(pairs, "before")
        self._train(pairs.train)
        self._measure(pairs, "after")
        self._write_result()
        shutil.rmtree(self._folder / CHECKPOINTS, ignore_errors=True)

    def _measure(self, pairs: Split, when: str) -> None:
        if not pairs.held_out:
            return
        self._reporter.stage(f"measuring {when} the training")
        self._adapted.eval()
        figures = measure_pages(ranking_task(pairs), self._reader, self._task.options.mini_batch_size)
        self._reporter.evaluation(when, figures)

    def _train(self, pairs: Sequence[TextPair]) -> None:
        self._reporter.stage("training")
        trainer = PageTrainer(
            model=self._adapted,
            args=training_arguments(self._task, self._folder, len(pairs)),
            train_dataset=list(pairs),
            data_collator=PageCollator(self._reader),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.embed = Embedder(self._reader.model)
        trainer.part_size = self._task.options.mini_batch_size
        trainer.follow(self._reporter, self._folder / CHECKPOINTS)
        trainer.train_or_resume()
        require_finite(trained_parameters(self._adapted).values())

    def _write_result(self) -> None:
        self._reporter.stage("writing the result")
        task, model = self._task, self._reader.model
        older = older_adapter(task, model.key_mapping)
        with writing(self._folder / RESULT, self._result_bytes()) as folder:
            if self._lora.merge:
                write_merged(folder, model.module, model.key_mapping, task.base_path, older)
            else:
                write_adapter(folder, self._adapted, task.family, task.base_path, task.base_name, older)
            copy_preparing_files(task.adapter_path, folder)

    def _result_bytes(self) -> int:
        """About what the result takes."""
        if self._lora.merge:
            return sum(file.stat().st_size for file in self._task.base_path.glob("*.safetensors"))
        n_trained = sum(parameter.nbytes for parameter in trained_parameters(self._adapted).values())
        return n_trained + weights_bytes(self._task.adapter_path)
