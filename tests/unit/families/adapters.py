"""LoRA adapters over the small checkpoints, and the checkpoints they come to when they are merged."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peft import LoraConfig, get_peft_model
from safetensors.numpy import load_file, save_file
from transformers import AutoModel

from app.core.types import Embedding, ImageInput, Modality, Output, Role, TextInput
from app.families.base import Checkpoint, EmbeddingModel
from tests.parity import visual_layouts as layouts
from tests.parity.visual_pictures import page

TEXT_LAYERS = {"every layer": ["query", "key", "value", "dense"], "some": ["query", "value", "intermediate.dense"]}


@dataclass(frozen=True, slots=True)
class AdapterFolders:
    """Where a base, an adapter over it and the two merged are."""

    base: Path
    adapter: Path
    merged: Path

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.adapter, self.base)


def text_adapter(base: Path, folder: Path, layers: str, rank: int = 4, seed: int = 3) -> AdapterFolders:
    """Made, saved and merged by peft."""
    encoder = AutoModel.from_pretrained(base, add_pooling_layer=False)
    config = LoraConfig(r=rank, lora_alpha=3 * rank, target_modules=TEXT_LAYERS[layers], use_rslora=layers == "some")
    adapted = get_peft_model(encoder, config)
    added = {name: weight for name, weight in adapted.named_parameters() if ".lora_" in name}
    for number, weight in enumerate(added.values()):
        random = np.random.default_rng([seed, number])
        weight.data.copy_(weight.new_tensor(random.normal(0, 0.05, tuple(weight.shape))))
    adapted.save_pretrained(folder / "adapter")
    merged = Path(shutil.copytree(base, folder / "merged"))
    adapted.merge_and_unload().save_pretrained(merged)
    return AdapterFolders(base, folder / "adapter", merged)


def visual_adapter(family: str, models_dir: Path) -> AdapterFolders:
    base, adapter, merged = (
        models_dir / make(family, models_dir) for make in (layouts.published, layouts.adapter, layouts.merged)
    )
    return AdapterFolders(base, adapter, merged)


def second_adapter(first: Path, folder: Path) -> Path:
    """Another one over the same base: half of the first one's additions."""
    copy = Path(shutil.copytree(first, folder))
    weights = load_file(copy / "adapter_model.safetensors")
    halved = {name: weight / 2 if ".lora_B." in name else weight for name, weight in weights.items()}
    save_file(halved, copy / "adapter_model.safetensors", metadata={"format": "pt"})
    return copy


def change_settings(adapter: Path, settings: dict[str, Any]) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")


def vectors(model: EmbeddingModel) -> np.ndarray:
    """Of texts in two batches, and of a page for those that read pages: [n, dim]."""
    outputs = frozenset(output for output in Output if model.spec.can(Modality.TEXT, output))
    texts = ["quarterly revenue", "a much longer text of several words about whatever comes", "x"]
    batch = [model.prepare_text(TextInput(text, Role.QUERY, outputs=outputs)) for text in texts]
    found = [*model.encode(batch), *model.encode(batch[:1])]
    if any(model.spec.can(Modality.IMAGE, output) for output in Output):
        found += model.encode([model.prepare_image(ImageInput(b""), page(300, 200))])
    return np.concatenate([rows for embedding in found for rows in _rows(embedding)])


def _rows(embedding: Embedding) -> list[np.ndarray]:
    rows = [embedding.multi_vector.vectors] if embedding.multi_vector else []
    return rows + ([embedding.dense[None]] if embedding.dense is not None else [])
