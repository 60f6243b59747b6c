"""What every training shares: it reports where it is, stops at numbers that are none, and goes on after a kill.

A trainer is made of the library's own and this:

    class TextTrainer(ResumableMixin, SentenceTransformerTrainer): ...

    trainer = TextTrainer(...)  # with save_strategy="no", eval_strategy="no", logging_strategy="no"
    trainer.follow(reporter, job_folder / CHECKPOINTS)
    trainer.train_or_resume()
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from app.training.task import Progress, Reporter, TrainingFailedError
from app.training.whole import is_whole, remove_partial, writing

CHECKPOINT_INTERVAL_S = 30.0
SAVING_SHARE = 0.1
"""Of the time, at most, that goes into checkpoints, the first one apart."""
KEPT_CHECKPOINTS = 2
REPORT_INTERVAL_S = 0.25

TRAINED_FILE = "trained.safetensors"
STATE_FILE = "trainer_state.json"

NOT_FINITE = (
    "The loss is not a number any more: the training has diverged. Lower the learning_rate (a tenth of it, say) or "
    "raise the warmup_ratio."
)

Clock = Callable[[], float]


class ReportProgress(TrainerCallback):  # type: ignore[misc]
    """Reports a few times a second, and always the last step."""

    def __init__(self, reporter: Reporter, clock: Clock = time.monotonic) -> None:
        self._reporter = reporter
        self._clock = clock
        self._losses: list[float] = []
        self._learning_rate = 0.0
        self._first_step = 0
        self._begun_at = self._reported_at = clock()

    def add_loss(self, loss: float) -> None:
        """Of one batch."""
        self._losses.append(loss)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._first_step = state.global_step
        self._begun_at = self._reported_at = self._clock()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **references: Any) -> None:
        # Here, since at the step's end the scheduler stands at the next one's.
        self._learning_rate = references["lr_scheduler"].get_last_lr()[0]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = self._clock()
        if state.global_step >= state.max_steps or now - self._reported_at >= REPORT_INTERVAL_S:
            self._reporter.progress(
                self._progress(state, args.train_batch_size * args.gradient_accumulation_steps, now)
            )
            self._reported_at = now
            self._losses.clear()

    def _progress(self, state: Any, batch_size: int, now: float) -> Progress:
        n_made = state.global_step - self._first_step
        step_s = max(now - self._begun_at, 1e-6) / n_made
        return Progress(
            step=state.global_step,
            n_steps=state.max_steps,
            epoch=state.epoch,
            loss=math.fsum(self._losses) / max(1, len(self._losses)),
            learning_rate=self._learning_rate,
            examples_per_second=batch_size / step_s,
            seconds_left=(state.max_steps - state.global_step) * step_s,
        )


class SaveByTime(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint every `interval_s` and at the end of an epoch, but not for more than can be afforded."""

    def __init__(self, interval_s: float, clock: Clock = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._saved_at = clock()
        self._pause_s = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved_at = self._clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._clock() - self._saved_at >= max(self._interval_s, self._pause_s):
            control.should_save = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        is_last = state.global_step >= state.max_steps
        if is_last or self._clock() - self._saved_at >= self._pause_s:
            control.should_save = True

    def saved(self, seconds: float) -> None:
        """A checkpoint was written in so many."""
        self._saved_at = self._clock()
        self._pause_s = seconds / SAVING_SHARE


class StopAtNotFinite(TrainerCallback):  # type: ignore[misc]
    """Looks at the gradients before they reach the weights: a finite loss may have others."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **references: Any) -> None:
        gradients = (parameter.grad for group in references["optimizer"].param_groups for parameter in group["params"])
        require_finite(gradient for gradient in gradients if gradient is not None)


class ResumableMixin(Trainer):  # type: ignore[misc]
    """Stands before the library's own trainer among the bases of one. Call `follow` before anything else."""

    report: ReportProgress
    reporter: Reporter
    checkpoints: Path
    save_by_time: SaveByTime

    def follow(self, reporter: Reporter, checkpoints: Path) -> None:
        """Report to `reporter` and keep checkpoints in the folder `checkpoints`, which may hold some already."""
        self.reporter = reporter
        self.checkpoints = checkpoints
        self.report = ReportProgress(reporter)
        self.save_by_time = SaveByTime(CHECKPOINT_INTERVAL_S)
        for callback in (StopAtNotFinite(), self.report, self.save_by_time):
            self.add_callback(callback)

    def train_or_resume(self) -> None:
        """Train from the newest whole checkpoint on, or from the start; the weights change in place.

        Raises `TrainingFailedError` for a loss that is not finite or a full disk.
        """
        newest = newest_checkpoint(self.checkpoints)
        if newest is None:
            self.train()
            return
        self.reporter.stage(f"going on from step {checkpoint_step(newest)}")
        if is_last_step(newest):
            # transformers would train one step more when the last epoch is not a whole one.
            self._load_from_checkpoint(str(newest))
        else:
            self.train(resume_from_checkpoint=str(newest))

    def trained_module(self) -> nn.Module:
        """What holds every trained parameter; for others to override."""
        module: nn.Module = self.model
        return module

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        require_finite([loss])
        self.report.add_loss(loss.item() * self.args.gradient_accumulation_steps)
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        begun_at = time.monotonic()
        trained = trained_parameters(self.trained_module())
        folder = self.checkpoints / f"checkpoint-{self.state.global_step}"
        if not is_whole(folder):
            # The optimizer keeps two more numbers for each that is trained.
            with writing(folder, n_bytes=3 * sum(parameter.nbytes for parameter in trained.values())) as temporary:
                self._write_state(temporary, trained)
        for older in checkpoint_folders(self.checkpoints)[KEPT_CHECKPOINTS:]:
            shutil.rmtree(older, ignore_errors=True)
        self.save_by_time.saved(time.monotonic() - begun_at)
        self.reporter.checkpoint(self.state.global_step)

    def _write_state(self, folder: Path, trained: dict[str, nn.Parameter]) -> None:
        save_file({name: weight.detach().cpu().contiguous() for name, weight in trained.items()}, folder / TRAINED_FILE)
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))
        self.state.save_to_json(str(folder / STATE_FILE))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights = load_file(Path(resume_from_checkpoint) / TRAINED_FILE)
        trained = trained_parameters(self.trained_module())
        if weights.keys() != trained.keys():
            raise TrainingFailedError("The checkpoint is of another training. Start the job anew.")
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(weights[name])


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """By name; frozen ones are left out, and a tied one is there once."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def require_finite(tensors: Iterable[Tensor]) -> None:
    """Raise `TrainingFailedError` if one of the numbers is infinite or none."""
    answers = [tensor.detach().isfinite().all() for tensor in tensors]
    # One question to a GPU, which has to finish its work for each.
    if answers and not torch.stack(answers).all():
        raise TrainingFailedError(NOT_FINITE)


def newest_checkpoint(checkpoints: Path) -> Path | None:
    """The last whole one; broken ones and temporary folders are deleted."""
    remove_partial(checkpoints)
    for folder in checkpoint_folders(checkpoints):
        if is_whole(folder):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
    return None


def checkpoint_folders(checkpoints: Path) -> list[Path]:
    """The newest first."""
    return sorted(checkpoints.glob("checkpoint-*"), key=checkpoint_step, reverse=True)


def is_last_step(checkpoint: Path) -> bool:
    """True if it was written when every step had been made."""
    state = json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def checkpoint_step(folder: Path) -> int:
    """Optimizer steps that were made when it was written."""
    return int(folder.name.rpartition("-")[2])
