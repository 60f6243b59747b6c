"""Trains E5 and BGE-M3 with sentence-transformers' trainer and losses."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch import nn
from transformers import set_seed

from app.core.types import FloatArray
from app.training.batches import AnswersApart
from app.training.enough import require_enough
from app.training.options import LEARNING_RATES
from app.training.pairs_split import FEWEST_TO_SPLIT, Split, TextPair, columns, read_text_pairs, split
from app.training.ranking import RankingTask, measure, ranking_task
from app.training.resumable import ResumableMixin, require_finite, trained_parameters
from app.training.task import CHECKPOINTS, DATASET_FILE, Reporter, TrainingTask
from app.training.text_model import TrainableText, heads_loss, load_trainable
from app.training.text_result import write_result


class TextTrainer(ResumableMixin, SentenceTransformerTrainer):  # type: ignore[misc]
    """sentence-transformers' trainer, which reports, keeps checkpoints of ours, and writes no model card."""

    def trained_module(self) -> nn.Module:
        # It holds the model as well, and BGE-M3's heads if they are trained.
        loss: nn.Module = self.loss
        return loss

    def add_model_card_callback(self, default_args_dict: Any) -> None:
        pass


def train_texts(task: TrainingTask, folder: Path, reporter: Reporter) -> None:
    """Train on the dataset in the job's folder and write the result there, whole.

    Goes on from the newest checkpoint if there is one. Raises `TrainingFailedError` and whatever loading raises.
    """
    reporter.stage("reading the dataset")
    all_pairs = read_text_pairs(folder / DATASET_FILE)
    require_enough(all_pairs, task.options)
    pairs = split(all_pairs, task.options.eval_fraction, task.options.seed)
    reporter.stage("loading the model")
    set_seed(task.options.seed)
    text = load_trainable(task)
    ranking = _ranking(pairs, task, reporter)
    _report_figures("before", ranking, text, task, reporter)
    reporter.stage("training")
    trainer = _trainer(task, text, pairs, folder / CHECKPOINTS, reporter)
    trainer.train_or_resume()
    require_finite(trained_parameters(trainer.trained_module()).values())
    _report_figures("after", ranking, text, task, reporter)
    reporter.stage("writing the result")
    write_result(task, text, folder)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def training_arguments(
    task: TrainingTask, text: TrainableText, checkpoints: Path, pairs: Sequence[TextPair]
) -> SentenceTransformerTrainingArguments:
    """What the trainer needs to know; it saves and reports by callbacks of ours alone."""
    options = task.options
    on_gpu = task.device.startswith("cuda")
    passage = text.family.passage_prompt
    return SentenceTransformerTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=options.epochs,
        per_device_train_batch_size=options.batch_of(len(pairs)),
        dataloader_drop_last=options.drops_last(len(pairs)),
        learning_rate=options.learning_rate or LEARNING_RATES[task.method],
        warmup_steps=options.warmup_steps(len(pairs)),
        lr_scheduler_type="linear",
        seed=options.seed,
        batch_sampler=partial(AnswersApart, pairs),
        prompts={"query": text.family.query_prompt, "positive": passage, "negative": passage} if passage else None,
        bf16=on_gpu and torch.cuda.is_bf16_supported(including_emulation=False),
        use_cpu=task.device == "cpu",
        dataloader_num_workers=0,
        dataloader_pin_memory=on_gpu,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def training_loss(task: TrainingTask, text: TrainableText, batch_size: int) -> nn.Module:
    """In-batch negatives; what does not fit into memory at once is embedded in parts."""
    mini_batch_size = task.options.mini_batch_size
    loss: nn.Module
    if text.heads is not None:
        loss = heads_loss(text, text.heads, mini_batch_size)
    elif batch_size <= mini_batch_size:
        loss = MultipleNegativesRankingLoss(text.model)
    else:
        loss = CachedMultipleNegativesRankingLoss(text.model, mini_batch_size=mini_batch_size)
    return loss


def _trainer(
    task: TrainingTask, text: TrainableText, pairs: Split, checkpoints: Path, reporter: Reporter
) -> TextTrainer:
    batch_size = task.options.batch_of(len(pairs.train))
    if batch_size < task.options.batch_size:
        reporter.stage(f"training with batch_size {batch_size}: there are no more pairs")
    trainer = TextTrainer(
        model=text.model,
        args=training_arguments(task, text, checkpoints, pairs.train),
        train_dataset=Dataset.from_dict(columns(pairs.train)),
        loss=training_loss(task, text, batch_size),
    )
    trainer.follow(reporter, checkpoints)
    return trainer


def _ranking(pairs: Split, task: TrainingTask, reporter: Reporter) -> RankingTask | None:
    if pairs.held_out:
        return ranking_task(pairs)
    if task.options.eval_fraction > 0:
        reporter.stage(
            f"training on all pairs, without figures: none can be held out of fewer than {FEWEST_TO_SPLIT} pairs, or "
            "of pairs that are all linked by equal queries or passages"
        )
    return None


def _report_figures(
    when: str, ranking: RankingTask | None, text: TrainableText, task: TrainingTask, reporter: Reporter
) -> None:
    if ranking is None:
        return
    reporter.stage(f"measuring {when} the training")
    encode = partial(_encode, text, task.options.mini_batch_size)
    reporter.evaluation(
        when,
        measure(ranking, partial(encode, text.family.query_prompt), partial(encode, text.family.passage_prompt)),
    )


def _encode(text: TrainableText, batch_size: int, prompt: str, texts: Sequence[str]) -> FloatArray:
    """Unit vectors [n, dim]."""
    vectors: FloatArray = text.model.encode(
        list(texts), prompt=prompt or None, batch_size=batch_size, show_progress_bar=False, normalize_embeddings=True
    )
    return vectors
