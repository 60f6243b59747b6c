"""Small checkpoints in the genuine formats, and what a malicious one looks like."""

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

CONFIG = {"model_type": "xlm-roberta", "hidden_size": 4}
HEADS = ("sparse_linear", "colbert_linear")


def tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    values = torch.Generator().manual_seed(seed)
    return {
        "embeddings.weight": torch.randn(6, 4, generator=values),
        "layer.bias": torch.randn(4, generator=values),
        "layer.steps": torch.arange(5),
    }


def linear(outputs: int) -> dict[str, torch.Tensor]:
    return dict(torch.nn.Linear(4, outputs).state_dict())


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def new_folder(folder: Path, config: Mapping[str, Any] = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"})
    return folder


def safetensors_model(folder: Path) -> Path:
    save_file(tensors(), new_folder(folder) / "model.safetensors", metadata={"format": "pt"})
    return folder


def bge_m3_pickles(folder: Path) -> Path:
    """As BAAI/bge-m3 lies on the hub."""
    torch.save(tensors(), new_folder(folder) / "pytorch_model.bin")
    torch.save(linear(1), folder / "sparse_linear.pt")
    torch.save(linear(4), folder / "colbert_linear.pt")
    return folder


def sharded_pickles(folder: Path) -> Path:
    new_folder(folder)
    weight_map = {}
    for number, (name, tensor) in enumerate(tensors().items(), start=1):
        shard = f"pytorch_model-{number:05}-of-00003.bin"
        torch.save({name: tensor}, folder / shard)
        weight_map[name] = shard
    write_json(folder / "pytorch_model.bin.index.json", {"metadata": {"total_size": 1}, "weight_map": weight_map})
    return folder


def adapter(folder: Path, base: Any, revision: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": base, "revision": revision}
    write_json(folder / "adapter_config.json", config)
    save_file({"lora_A.weight": torch.ones(2, 4)}, folder / "adapter_model.safetensors")
    return folder


class MaliciousPickle:
    """Unpickling it writes the file `trace`."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.trace}",)


def write_malicious(file: Path, trace: Path, zipped: bool) -> None:
    content = {"weight": MaliciousPickle(trace)}
    torch.save(content, file) if zipped else file.write_bytes(pickle.dumps(content, protocol=2))


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
