"""A base model that is a LoRA adapter itself: what it adds to its own base is carried on in what is trained on top.

While a model is trained the older adapter is merged into the base; the result holds both.
"""

import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from peft import LoraConfig
from peft.utils.other import get_pattern_key
from safetensors import safe_open
from safetensors.torch import load_file

from app.families.pretrained import renamed
from app.training.lora_updates import ADAPTER_PREFIX, LoraUpdate, Updates
from app.training.options import Method
from app.training.task import TrainingFailedError, TrainingTask

WEIGHTS_FILE = "adapter_model.safetensors"
CARRIED = frozenset(
    {
        "alpha_pattern",
        "auto_mapping",
        "base_model_name_or_path",
        "exclude_modules",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "peft_version",
        "r",
        "rank_pattern",
        "revision",
        "target_modules",
        "task_type",
        "use_rslora",
    }
)
"""Settings of an adapter that may have any value; all others must be as peft has them by default."""
PLAIN_BEGINNINGS = (True, False, "gaussian")
"""Values of `init_lora_weights` that leave the base's weights as they are."""
MATRIX = re.compile(rf"{re.escape(ADAPTER_PREFIX)}.+\.lora_[AB]\.weight")
PREPARING = {
    "tokenizer.json": (
        "tokenizer*",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.*",
        "merges.txt",
        "chat_template.*",
    ),
    "preprocessor_config.json": ("preprocessor_config.json",),
    "processor_config.json": ("processor_config.json",),
}
"""The file that a part is made from -> the files of that part: how inputs are prepared."""
INSTEAD = (
    "Merge it into its own base with the library that it was made with, put the result into the models folder and "
    "train that."
)


@dataclass(frozen=True, slots=True)
class OlderAdapter:
    """The adapter that another one was trained on top of."""

    updates: Updates
    base_revision: str | None
    """Of the base on the hub."""

    @classmethod
    def read(cls, folder: Path, key_mapping: Mapping[str, str]) -> Self:
        """Its layers get the names that they have in the module; `key_mapping` is that of the family.

        Raises `TrainingFailedError` if `require_joinable` does.
        """
        require_joinable(folder)
        config = LoraConfig.from_pretrained(str(folder))
        weights = {_in_module(name, key_mapping): weight for name, weight in load_file(folder / WEIGHTS_FILE).items()}
        layers = sorted({name.split(".lora_")[0] for name in weights})
        updates = {}
        for layer in layers:
            down, up = (weights[f"{layer}.lora_{matrix}.weight"] for matrix in "AB")
            updates[layer] = LoraUpdate.of(down, up, _scale(config, layer, len(down)))
        return cls(updates, config.revision)


def older_adapter(task: TrainingTask, key_mapping: Mapping[str, str]) -> OlderAdapter | None:
    """The adapter that the task trains on top of, if there is one. Raises `TrainingFailedError`."""
    return None if task.adapter_path is None else OlderAdapter.read(task.adapter_path, key_mapping)


def require_trainable(task: TrainingTask) -> None:
    """Raise `TrainingFailedError` if the base is an adapter on which the task's method cannot train another."""
    if task.adapter_path is None or task.lora is None:
        return
    if task.method is Method.QLORA:
        raise TrainingFailedError(
            "Q-LoRA does not train on top of a base model that is a LoRA adapter itself. Use LoRA with "
            "`use_qlora: false` instead."
        )
    require_joinable(task.adapter_path)


def require_joinable(folder: Path) -> None:
    """Raise `TrainingFailedError` unless the adapter is LoRA on linear layers and nothing beside it."""
    config = LoraConfig.from_pretrained(str(folder))
    if config.peft_type != "LORA":
        raise _refusal(f"is of the type {config.peft_type}")
    if unusual := _unusual_settings(config):
        raise _refusal(f"was made with {', '.join(unusual)}")
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118 - it is no dict
            if not MATRIX.fullmatch(name) or len(weights.get_slice(name).get_shape()) != 2:
                raise _refusal(f"has the weight {name}")


def copy_preparing_files(adapter: Path | None, target: Path) -> None:
    """The adapter's own tokenizer and image processor, over those of its base."""
    for marker, patterns in PREPARING.items():
        if adapter is not None and (adapter / marker).is_file():
            for file in (file for pattern in patterns for file in adapter.glob(pattern) if file.is_file()):
                shutil.copyfile(file, target / file.name)


def weights_bytes(adapter: Path | None) -> int:
    """Of the adapter's weights on disk."""
    return 0 if adapter is None else (adapter / WEIGHTS_FILE).stat().st_size


def _in_module(name: str, key_mapping: Mapping[str, str]) -> str:
    return renamed(name.removeprefix(ADAPTER_PREFIX), key_mapping)


def _scale(config: LoraConfig, layer: str, rank: int) -> float:
    """What the product of the layer's matrices is multiplied by (rsLoRA: arXiv:2312.03732)."""
    alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), layer), config.lora_alpha)
    return float(alpha / (math.sqrt(rank) if config.use_rslora else rank))


def _unusual_settings(config: LoraConfig) -> list[str]:
    own, usual = config.to_dict(), LoraConfig().to_dict()
    unusual = [name for name, value in own.items() if name not in CARRIED and value != usual.get(name)]
    return unusual if config.init_lora_weights in PLAIN_BEGINNINGS else ["init_lora_weights", *unusual]


def _refusal(what: str) -> TrainingFailedError:
    return TrainingFailedError(
        f"The base model is an adapter that cannot be carried on in another one: it {what}. {INSTEAD}"
    )
