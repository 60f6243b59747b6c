"""The layouts in which checkpoints of the visual families are found, made from one small checkpoint of each."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from app import starter

FAMILIES = ("colqwen2.5", "colqwen2", "colpali")
LORA_RANK, LORA_ALPHA = 4, 8

PROJECTIONS = "(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj)"
TARGET_MODULES = {
    "colqwen2.5": rf"(.*(model).*{PROJECTIONS}.*$|.*(custom_text_proj).*$)",
    "colqwen2": rf"(.*(model).*{PROJECTIONS}.*$|.*(custom_text_proj).*$)",
    "colpali": rf"(.*(language_model).*{PROJECTIONS}.*$|.*(custom_text_proj).*$)",
}
"""As in the adapters of colqwen2.5-v0.2, colqwen2-v1.0 and colpali-v1.3."""

TODAY = {
    "colqwen2.5": {r"^model\.": "language_model."},
    "colqwen2": {r"^model\.": "language_model."},
    "colpali": {
        r"^model\.language_model\.lm_head\.": "model.lm_head.",
        r"^model\.language_model\.model\.": "model.model.language_model.",
        r"^model\.vision_tower\.vision_model\.": "model.model.vision_tower.",
        r"^model\.multi_modal_projector\.": "model.model.multi_modal_projector.",
    },
}
"""Names of weights in the published checkpoints -> as colpali-engine 0.3.18 saves them with transformers 5."""


def published(family: str, models_dir: Path) -> str:
    """The starter checkpoint, which has the layout of the published ones. Returns the name under `models_dir`."""
    starter.ensure(models_dir)
    return f"untrained/{family}"


def saved_today(family: str, models_dir: Path) -> str:
    """Weights under the names that today's libraries give them."""
    folder = _copy(published(family, models_dir), models_dir, "today")
    weights = load_file(folder / "model.safetensors")
    _save(folder / "model.safetensors", {_renamed(name, TODAY[family]): w for name, w in weights.items()})
    return folder.relative_to(models_dir).as_posix()


def flat_config(family: str, models_dir: Path) -> str:
    """Qwen's configuration before there was a `text_config`."""
    folder = _copy(published(family, models_dir), models_dir, "flat")
    config = _read_json(folder / "config.json")
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text |= {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": {"type": "mrope", "mrope_section": rope["mrope_section"]},
    }
    config["vision_config"].pop("dtype", None)
    config["vision_config"]["model_type"] = config["model_type"]
    _write_json(folder / "config.json", {**text, **config})
    return folder.relative_to(models_dir).as_posix()


def adapter(family: str, models_dir: Path) -> str:
    """A LoRA adapter over the starter checkpoint, without a `config.json` of its own."""
    base = published(family, models_dir)
    folder = _copy(base, models_dir, "adapter")
    (folder / "config.json").unlink()
    (folder / "model.safetensors").unlink()
    _save(folder / "adapter_model.safetensors", _lora_weights(models_dir / base))
    config = {
        "auto_mapping": None,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": "gaussian",
        "lora_alpha": LORA_ALPHA,
        "lora_dropout": 0.1,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": LORA_RANK,
        "target_modules": TARGET_MODULES[family],
        "task_type": "FEATURE_EXTRACTION",
    }
    _write_json(folder / "adapter_config.json", config)
    return folder.relative_to(models_dir).as_posix()


def merged(family: str, models_dir: Path) -> str:
    """What `adapter` comes to when it is added to its base, computed here: W + (alpha / r) B A (arXiv:2106.09685)."""
    base = published(family, models_dir)
    folder = _copy(base, models_dir, "merged")
    weights = load_file(folder / "model.safetensors")
    lora = _lora_weights(models_dir / base)
    for name in [name.removesuffix(".lora_A.weight") for name in lora if name.endswith(".lora_A.weight")]:
        update = lora[f"{name}.lora_B.weight"] @ lora[f"{name}.lora_A.weight"]
        weights[f"{name.removeprefix('base_model.model.')}.weight"] += LORA_ALPHA / LORA_RANK * update
    _save(folder / "model.safetensors", weights)
    return folder.relative_to(models_dir).as_posix()


LAYOUTS: Mapping[str, Callable[[str, Path], str]] = {
    "published": published,
    "saved today": saved_today,
    "flat config": flat_config,
    "adapter": adapter,
    "merged": merged,
}


def _lora_weights(base: Path) -> dict[str, np.ndarray]:
    """A and B of every module that the published adapters adapt, large enough to change the vectors clearly."""
    random = np.random.default_rng(7)
    adapted = re.compile(rf"^(custom_text_proj|.*(?<!vision_model)\.layers\.\d+\..*{PROJECTIONS})\.weight$")
    weights = {}
    for name, weight in sorted(load_file(base / "model.safetensors").items()):
        if adapted.match(name) and not re.search("visual|vision_tower", name):
            height, width = weight.shape
            prefix = f"base_model.model.{name.removesuffix('.weight')}"
            weights[f"{prefix}.lora_A.weight"] = random.normal(0, 0.3, (LORA_RANK, width)).astype(np.float32)
            weights[f"{prefix}.lora_B.weight"] = random.normal(0, 0.3, (height, LORA_RANK)).astype(np.float32)
    return weights


def _copy(name: str, models_dir: Path, layout: str) -> Path:
    folder = models_dir / layout / Path(name).name
    shutil.copytree(models_dir / name, folder, dirs_exist_ok=True)
    return folder


def _renamed(name: str, names: Mapping[str, str]) -> str:
    for pattern, replacement in names.items():
        name = re.sub(pattern, replacement, name)
    return name


def _save(file: Path, weights: dict[str, np.ndarray]) -> None:
    save_file(weights, file, metadata={"format": "pt"})


def _read_json(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2), encoding="utf-8")
