"""Builds a small untrained checkpoint of DINOv3."""

import json
from pathlib import Path

from transformers import DINOv3ViTConfig, DINOv3ViTModel

from app.starter.card import write_card
from app.starter.weights import randomize

PREPROCESSOR = {
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 224, "width": 224},
}


def build_dinov3(folder: Path) -> None:
    """Write a checkpoint with the files of `facebook/dinov3-vitb16-pretrain-lvd1689m`."""
    config = DINOv3ViTConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        num_register_tokens=4,
        patch_size=16,
        image_size=224,
    )
    model = DINOv3ViTModel(config)
    randomize(model, seed=16)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n", encoding="utf-8")
    write_card(folder, title="DINOv3", original="facebook/dinov3-vitb16-pretrain-lvd1689m")
