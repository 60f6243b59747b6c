"""The loop that every recipe shares: a schedule, progress, and a state on disk that an interrupted run goes on from."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from recipes import CACHE
from recipes.muon import Muon

SAVE_SECONDS = 120.0
PRINT_SECONDS = 15.0
SMOOTHING = 0.95

WIDEST_FOR_MUON = 512
"""Its cost grows with the cube of the narrower side."""

Step = Callable[[int], Mapping[str, torch.Tensor]]
"""Step number -> losses by name; `loss` is the one that is minimized. It must depend on the number alone (a generator
seeded with it), so that a resumed run sees the data that an unbroken one would have seen."""


def optimizers(module: nn.Module, *, lr: float, muon_lr: float, weight_decay: float = 0.01) -> list[Optimizer]:
    """Muon for the matrices inside of layers, AdamW for everything else: embeddings, heads, vectors."""
    inner = {
        id(owner.weight)
        for name, owner in module.named_modules()
        if isinstance(owner, nn.Linear)
        and any(part.isdigit() for part in name.split("."))
        and min(owner.weight.shape) <= WIDEST_FOR_MUON
    }
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    hidden = [parameter for parameter in trained if id(parameter) in inner]
    others = [parameter for parameter in trained if id(parameter) not in inner]
    found: list[Optimizer] = [AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=weight_decay)]
    if hidden:
        found.append(Muon(hidden, lr=muon_lr, weight_decay=weight_decay))
    return found


def train(
    name: str,
    module: nn.Module,
    optimizers: Sequence[Optimizer],
    step: Step,
    *,
    n_steps: int,
    warmup: float = 0.05,
    decay: float = 0.4,
    clip: float = 1.0,
) -> None:
    """Run `step` for numbers 0 to `n_steps` - 1; goes on where an earlier call under this name stopped.

    The learning rates rise over the first `warmup` of the steps and fall to zero over the last `decay` of them.
    `module` holds everything that is trained.
    """
    path = CACHE / "training" / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    first = _resume(path, module, optimizers)
    if first:
        print(f"{name}: going on at step {first} of {n_steps}", flush=True)
    started = saved = printed = time.monotonic()
    smooth: dict[str, float] = {}
    for number in range(first, n_steps):
        factor = _rate(number / n_steps, warmup, decay)
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * factor
            optimizer.zero_grad(set_to_none=True)
        losses = step(number)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(module.parameters(), clip)
        if not math.isfinite(norm):
            raise RuntimeError(f"{name}: the gradient of step {number} is not finite; lower the learning rate.")
        for optimizer in optimizers:
            optimizer.step()
        for key, value in losses.items():
            smooth[key] = SMOOTHING * smooth.get(key, value.item()) + (1 - SMOOTHING) * value.item()
        now = time.monotonic()
        if now - printed > PRINT_SECONDS or number == n_steps - 1:
            printed = now
            left = (now - started) / (number + 1 - first) * (n_steps - number - 1)
            values = "  ".join(f"{key} {value:.4f}" for key, value in smooth.items())
            print(f"{name}: step {number + 1}/{n_steps}  {values}  {left / 60:.1f} min left", flush=True)
        if now - saved > SAVE_SECONDS or number == n_steps - 1:
            saved = now
            _save(path, module, optimizers, number + 1)


def _rate(progress: float, warmup: float, decay: float) -> float:
    return min(1.0, (progress + 1e-3) / warmup, (1 - progress) / decay)


def _resume(path: Path, module: nn.Module, optimizers: Sequence[Optimizer]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["module"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    step: int = state["step"]
    return step


def _save(path: Path, module: nn.Module, optimizers: Sequence[Optimizer], step: int) -> None:
    unfinished = path.with_suffix(".unfinished")
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"step": step, "module": module.state_dict(), "optimizers": states}, unfinished)
    unfinished.replace(path)
