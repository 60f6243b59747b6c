"""The files of LoRA adapters, and what of a checkpoint other models can share. Imports no torch."""

import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from app.families.base import Checkpoint, LoadOptions
from app.families.files import read_json

INT8 = "int8"

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

LORA_WEIGHT = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight")
"""Name of a weight of a plain adapter: `A` is [rank, in_features], `B` is [out_features, rank]."""

PLAIN_SETTINGS = {
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
}
"""Settings of peft's `LoraConfig` that leave an adapter what it is in arXiv:2106.09685: W + scale * B A."""


def shared_part(checkpoint: Checkpoint, options: LoadOptions) -> Checkpoint:
    """What of a checkpoint is loaded for all who use it: an adapter's base, or else all of it.

    All of it, too, where the adapter is merged into a copy of its base: for int8, whose weights cannot be added to, and
    for adapters that do more than add a product of low rank to linear layers.
    """
    if checkpoint.base is None or options.dtype == INT8 or not is_plain(checkpoint.path):
        return checkpoint
    return Checkpoint(checkpoint.base)


def base_key(family: str, part: Checkpoint, options: LoadOptions) -> Hashable:
    """Equal for what `shared_part` returned only if it comes to the same weights in memory.

    A checkpoint that was written anew in the same place is another one.
    """
    folders = [folder for folder in (part.path, part.base) if folder is not None]
    files = tuple(stamp for folder in folders for stamp in _stamps(folder))
    return family, files, options.device, options.dtype, options.backend


def is_plain(folder: Path) -> bool:
    """True if the adapter does nothing but add products of low rank to linear layers; false also if it is broken."""
    try:
        settings = read_json(folder / ADAPTER_CONFIG)
        shapes = dict(_shapes(folder / ADAPTER_WEIGHTS))
    except (OSError, SafetensorError):
        return False
    names = [match for name, shape in shapes.items() if (match := LORA_WEIGHT.fullmatch(name)) and len(shape) == 2]
    downs, ups = ({match["module"] for match in names if match["part"] == part} for part in "AB")
    return _is_plain_config(settings) and len(names) == len(shapes) and downs == ups


def _is_plain_config(settings: dict[str, Any]) -> bool:
    others = {name: value for name, value in settings.items() if name not in PLAIN_SETTINGS}
    # Whatever else it may be, the weights that were trained are there: these say only where training began.
    begins_anywhere = others.pop("init_lora_weights", True) in (True, False, "gaussian")
    no_bias = others.pop("bias", "none") == "none"
    return (
        settings.get("peft_type") == "LORA" and begins_anywhere and no_bias and not any(map(_is_set, others.values()))
    )


def _is_set(value: Any) -> bool:
    """False also for nothing but unset settings within a setting."""
    return any(map(_is_set, value.values())) if isinstance(value, dict) else bool(value)


def _shapes(file: Path) -> Iterator[tuple[str, list[int]]]:
    with safe_open(file, framework="np") as tensors:
        for name in tensors.keys():  # noqa: SIM118
            yield name, tensors.get_slice(name).get_shape()


def _stamps(folder: Path) -> Iterator[tuple[str, int, int]]:
    for file in sorted([*folder.glob("*.safetensors"), folder / "config.json", folder / ADAPTER_CONFIG]):
        if file.is_file():
            status = file.stat()
            yield str(file.resolve()), status.st_size, status.st_mtime_ns
