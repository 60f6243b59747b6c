"""The files that BAAI/bge-m3 has on the hub, whose weights are pickles."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

PICKLES = {
    "model.safetensors": "pytorch_model.bin",
    "sparse_linear.safetensors": "sparse_linear.pt",
    "colbert_linear.safetensors": "colbert_linear.pt",
}
"""What the server loads -> what the hub offers."""


def write_hub_pickles(converted: Path, hub: Path) -> None:
    """Write into the new folder `hub` what `converted`, a checkpoint with safetensors, was before its conversion."""
    hub.mkdir(parents=True)
    for file in converted.iterdir():
        if file.name in PICKLES:
            torch.save(load_file(file), hub / PICKLES[file.name])
        elif file.is_file():
            shutil.copy(file, hub)
