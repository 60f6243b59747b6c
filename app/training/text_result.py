"""The finished checkpoint of a text training: a whole one, or an adapter."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import CATALOG
from app.families.text_encoder import load_encoder
from app.training.lora_updates import ADAPTER, ADAPTER_PREFIX, adapter_weights, join, joined_config, trained_updates
from app.training.older_adapter import OlderAdapter, copy_preparing_files, older_adapter, weights_bytes
from app.training.task import RESULT, TrainingTask
from app.training.text_model import HEADS, TrainableText, lora_config
from app.training.whole import MANIFEST, writing

WEIGHTS_SUFFIXES = frozenset({".safetensors", ".bin", ".pt", ".pth", ".onnx", ".h5", ".msgpack", ".ot"})
NOT_COPIED = frozenset({"README.md", "model.safetensors.index.json", "training.json", MANIFEST})
"""Beside the weights: what is said of the base is not true of the result."""


def write_result(task: TrainingTask, text: TrainableText, folder: Path) -> None:
    """Write `RESULT` in the job's folder, whole. Raises `TrainingFailedError` if the disk is full."""
    adapter_only = task.lora is not None and not task.lora.merge
    with writing(folder / RESULT, n_bytes=_n_bytes(task, text)) as result:
        copy_companions(task.base_path, result, adapter_only=adapter_only)
        copy_preparing_files(task.adapter_path, result)
        if adapter_only:
            _write_adapter(task, text, result)
        else:
            _write_weights(task, text, result)
        _write_heads(task, text, result, adapter_only=adapter_only)


def copy_companions(base: Path, result: Path, *, adapter_only: bool) -> None:
    """What a checkpoint has beside its weights: configuration, tokenizer, sentence-transformers' files.

    An adapter gets no config.json, which is its base's.
    """
    for file in sorted(base.rglob("*")):
        place = file.relative_to(base)
        if not file.is_file() or not _is_companion(place) or (adapter_only and place == Path("config.json")):
            continue
        (result / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, result / place)


def write_sentence_transformers_files(folder: Path, pooling: str, dim: int) -> None:
    """What tells sentence-transformers how vectors are made, in the form that its releases since 2.0 read."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    modes = {f"pooling_mode_{mode}": mode.startswith(pooling) for mode in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": dim, **modes})


def file_dtype(file: Path) -> torch.dtype:
    """Of the largest tensor in a safetensors file."""
    with safe_open(file, framework="pt") as tensors:
        largest = max(tensors.keys(), key=lambda name: _n_values(tensors.get_slice(name).get_shape()))
        dtype: torch.dtype = tensors.get_tensor(largest).dtype
        return dtype


def _is_companion(place: Path) -> bool:
    hidden = any(part.startswith(".") for part in place.parts)
    return not hidden and place.suffix not in WEIGHTS_SUFFIXES and place.name not in NOT_COPIED


def _write_weights(task: TrainingTask, text: TrainableText, result: Path) -> None:
    """In the base's own precision."""
    encoder: Any = text.encoder if task.lora is None else _merged(task, text)
    dtype = file_dtype(_first_weights(task.base_path))
    _save(encoder.state_dict(), dtype, result / "model.safetensors")
    if not (result / "modules.json").is_file():
        write_sentence_transformers_files(result, text.family.pooling, encoder.config.hidden_size)


def _merged(task: TrainingTask, text: TrainableText) -> nn.Module:
    """The adapter merged into its base by the loader that serves it: a base in 4 bits would lose by a merger."""
    with TemporaryDirectory() as folder:
        _write_adapter(task, text, Path(folder))
        checkpoint = Checkpoint(Path(folder), task.base_path)
        merged: nn.Module = load_encoder(CATALOG[task.family], checkpoint, LoadOptions(dtype="float32"))
        return merged


def _write_adapter(task: TrainingTask, text: TrainableText, folder: Path) -> None:
    """In the form that PEFT reads, with the base under the name that the models folder has for it."""
    assert task.lora is not None  # noqa: S101 - an adapter was trained
    older = older_adapter(task, key_mapping={})
    weights = _adapter_weights(text, older)
    _save(weights, None, folder / "adapter_model.safetensors")
    config = lora_config(task.lora)
    if older is not None:
        config = joined_config(config, weights)
        config.revision = older.base_revision
    config.base_model_name_or_path = task.base_name
    config.inference_mode = True
    config.save_pretrained(str(folder))


def _adapter_weights(text: TrainableText, older: OlderAdapter | None) -> dict[str, Tensor]:
    """Of the adapter that was trained; of one with that under it."""
    if older is not None:
        return adapter_weights(join(older.updates, trained_updates(text.encoder)))
    weights = get_peft_model_state_dict(text.encoder, adapter_name=ADAPTER)
    return {ADAPTER_PREFIX + name: weight for name, weight in weights.items()}


def _write_heads(task: TrainingTask, text: TrainableText, result: Path, *, adapter_only: bool) -> None:
    """BGE-M3's: those that were trained in their base's precision, or the files of the base or the adapter over it.

    An adapter that has the base's own needs no copy of them.
    """
    for name in HEADS if task.family == "bge-m3" else ():
        file = _head_file(task, name)
        if text.heads is not None:
            _save(getattr(text.heads, name).state_dict(), file_dtype(file), result / file.name)
        elif not adapter_only or file.parent != task.base_path:
            shutil.copyfile(file, result / file.name)


def _head_file(task: TrainingTask, name: str) -> Path:
    own = task.checkpoint.path / f"{name}.safetensors"
    return own if own.is_file() else task.base_path / own.name


def _save(weights: Mapping[str, Tensor], dtype: torch.dtype | None, file: Path) -> None:
    kept = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in weights.items()}
    save_file(kept, file, metadata={"format": "pt"})


def _first_weights(base: Path) -> Path:
    whole = base / "model.safetensors"
    return whole if whole.is_file() else min(base.glob("model-*.safetensors"))


def _n_bytes(task: TrainingTask, text: TrainableText) -> int:
    parameters = text.encoder.parameters()
    adapter_only = task.lora is not None and not task.lora.merge
    n_bytes: int = sum(weight.nbytes for weight in parameters if weight.requires_grad or not adapter_only)
    return n_bytes + (weights_bytes(task.adapter_path) if adapter_only else 0)


def _n_values(shape: list[int]) -> int:
    return int(torch.Size(shape).numel())


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
