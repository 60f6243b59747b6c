"""Pickled weights (`.bin`, `.pt`) and their conversion to safetensors.

Unpickling can run code, so the server never does it. It happens here, once a checkpoint, with torch's restricted
unpickler, which builds tensors and plain containers only.
"""

import json
import logging
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from app.checkpoints import disk
from app.core.errors import ModelLoadError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

INDEX = "pytorch_model.bin.index.json"
MODEL = "pytorch_model.bin"
SHARD = re.compile(r"pytorch_model-(\d+-of-\d+)\.bin")
OTHERS = ("adapter_model.bin", "sparse_linear.pt", "colbert_linear.pt")
"""A LoRA adapter, and BGE-M3's two heads."""

PICKLE_PATTERNS = ("pytorch_model*.bin", "pytorch_model.bin.index.json", *OTHERS)
"""Files of a checkpoint that hold its weights as pickles; others such as `training_args.bin` are never read."""


def converted_name(file_name: str) -> str:
    """`pytorch_model.bin` -> `model.safetensors`, `sparse_linear.pt` -> `sparse_linear.safetensors`, ..."""
    if file_name == INDEX:
        return "model.safetensors.index.json"
    stem = file_name.rsplit(".", 1)[0].replace("pytorch_model", "model")
    return f"{stem}.safetensors"


def pending(folder: Path) -> list[Path]:
    """Pickles that have no safetensors twin yet, in the order to convert them in.

    An index comes after its shards, so that a model whose conversion was interrupted is not taken for complete.
    """
    heads = [folder / name for name in OTHERS if (folder / name).is_file()]
    waiting = [file for file in heads if not (folder / converted_name(file.name)).exists()]
    if any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json")):
        return waiting
    if (folder / MODEL).is_file():
        return [*waiting, folder / MODEL]
    if (folder / INDEX).is_file():
        return [*waiting, *_shards(folder), folder / INDEX]
    return waiting


def convert_pickles(source: Path, target: Path) -> list[Path]:
    """Write the safetensors twin of every pending pickle of `source` into the folder `target` and return them.

    Each file appears complete or not at all; pickles stay. Raises `ModelLoadError` for a pickle that is broken or
    holds anything but named tensors, without running what it holds.
    """
    written = []
    for file in pending(source):
        log.info("converting %s to safetensors", file.name)
        twin = target / converted_name(file.name)
        partial = target / f".{twin.name}.partial"
        try:
            _convert_index(file, partial) if file.name == INDEX else _convert_tensors(file, partial)
            disk.sync(partial)
            partial.replace(twin)
        except (OSError, SafetensorError) as error:
            raise ModelLoadError(_advice(error, file.name)) from error
        finally:
            partial.unlink(missing_ok=True)
        written.append(twin)
    return written


def _shards(folder: Path) -> list[Path]:
    shards = [folder / name for name in sorted(set(_weight_map(folder / INDEX).values()))]
    if missing := [file.name for file in shards if not file.is_file()]:
        raise ModelLoadError(f"The checkpoint is incomplete: {', '.join(missing)} is missing. Copy it again.")
    return shards


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name -> shard. Raises `ModelLoadError` unless the shards are called as shards are."""
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if weight_map and all(SHARD.fullmatch(name) for name in weight_map.values()):
            return dict(weight_map)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ModelLoadError(f"{index.name} of the checkpoint is broken. Copy it again.") from error
    raise ModelLoadError(f"{index.name} of the checkpoint names files that are no shards. Copy it again.")


def _convert_index(index: Path, target: Path) -> None:
    weight_map = {tensor: converted_name(shard) for tensor, shard in _weight_map(index).items()}
    target.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1), encoding="utf-8")


def _convert_tensors(file: Path, target: Path) -> None:
    from safetensors.torch import save_file

    save_file(_without_sharing(_read_tensors(file)), target, metadata={"format": "pt"})


def _read_tensors(file: Path) -> "dict[str, torch.Tensor]":
    import torch

    try:
        # The older, unzipped layout cannot be mapped into memory.
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise ModelLoadError(
            f"{file.name} of the checkpoint was refused: it is damaged, or holds code instead of tensors only. "
            "Do not use it unless you trust where it comes from; better find a copy with safetensors."
        ) from error
    except (RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise ModelLoadError(f"{file.name} of the checkpoint is broken. Copy it again.") from error
    if not isinstance(content, Mapping) or not all(_is_named_tensor(*item) for item in content.items()):
        raise ModelLoadError(f"{file.name} of the checkpoint holds something else than named tensors.")
    return dict(content)


def _is_named_tensor(name: Any, value: Any) -> bool:
    import torch

    return isinstance(name, str) and isinstance(value, torch.Tensor) and value.layout == torch.strided


def _without_sharing(tensors: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Contiguous tensors, each with memory of its own: safetensors knows no aliases such as tied weights."""
    import torch

    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        own = tensor.is_contiguous() and memory not in seen
        seen.add(memory)
        separate[name] = tensor.detach() if own else tensor.detach().clone(memory_format=torch.contiguous_format)
    return separate


def _advice(error: Exception, file_name: str) -> str:
    if disk.is_full(error):
        return f"The disk is full: {file_name} could not be converted to safetensors. Free space in the models folder."
    return f"{file_name} could not be converted to safetensors: the models folder cannot be read or written."
