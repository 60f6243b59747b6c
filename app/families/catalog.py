"""The families there are: one table, read without importing any model code."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from app.core.errors import ModelLoadError
from app.core.imports import heavy_import
from app.core.types import Modality, Output
from app.families.base import Capability, EmbeddingModel, FamilySpec

TEXT_DENSE = Capability(Modality.TEXT, Output.DENSE)
TEXT_SPARSE = Capability(Modality.TEXT, Output.SPARSE)
TEXT_MULTI_VECTOR = Capability(Modality.TEXT, Output.MULTI_VECTOR)
IMAGE_DENSE = Capability(Modality.IMAGE, Output.DENSE)
IMAGE_MULTI_VECTOR = Capability(Modality.IMAGE, Output.MULTI_VECTOR)

ENCODER_BACKENDS = frozenset({"torch", "onnxruntime", "openvino"})

CATALOG: dict[str, FamilySpec] = {
    spec.name: spec
    for spec in (
        FamilySpec(
            name="colqwen2.5",
            implementation="app.families.colqwen2_5:ColQwen2_5Model",
            capabilities=frozenset({TEXT_MULTI_VECTOR, IMAGE_MULTI_VECTOR}),
            name_pattern=r"colqwen-?2[._]5",
            model_types=frozenset({"qwen2_5_vl"}),
            variable="COLQWEN_MODEL_ID",
        ),
        FamilySpec(
            name="colqwen2",
            implementation="app.families.colqwen2:ColQwen2Model",
            capabilities=frozenset({TEXT_MULTI_VECTOR, IMAGE_MULTI_VECTOR}),
            name_pattern=r"colqwen-?2(?![._]?5)",
            model_types=frozenset({"qwen2_vl"}),
            variable="COLQWEN2_MODEL_ID",
        ),
        FamilySpec(
            name="colpali",
            implementation="app.families.colpali:ColPaliModel",
            capabilities=frozenset({TEXT_MULTI_VECTOR, IMAGE_MULTI_VECTOR}),
            name_pattern=r"colpali|colpaligemma",
            model_types=frozenset({"paligemma"}),
            variable="COLPALI_MODEL_ID",
        ),
        FamilySpec(
            name="e5",
            implementation="app.families.e5:E5Model",
            capabilities=frozenset({TEXT_DENSE}),
            name_pattern=r"(?<![a-z0-9])e5(?![0-9])",
            model_types=frozenset({"xlm-roberta", "bert"}),
            variable="E5_MODEL_ID",
            backends=ENCODER_BACKENDS,
        ),
        FamilySpec(
            name="bge-m3",
            implementation="app.families.bge_m3:BgeM3Model",
            capabilities=frozenset({TEXT_DENSE, TEXT_SPARSE, TEXT_MULTI_VECTOR}),
            name_pattern=r"bge[-_]?m3",
            model_types=frozenset({"xlm-roberta"}),
            variable="BGE_M3_MODEL_ID",
            backends=ENCODER_BACKENDS,
        ),
        FamilySpec(
            name="dinov3",
            implementation="app.families.dinov3:DinoV3Model",
            capabilities=frozenset({IMAGE_DENSE, IMAGE_MULTI_VECTOR}),
            name_pattern=r"dino-?v3",
            model_types=frozenset({"dinov3_vit"}),
            variable="DINOV3_MODEL_ID",
        ),
    )
}


def load_class(spec: FamilySpec) -> type[EmbeddingModel]:
    """Import the family's code; this is where torch and transformers come in."""
    module, _, name = spec.implementation.partition(":")
    with heavy_import():
        implementation: type[EmbeddingModel] = getattr(import_module(module), name)
    return implementation


def family_by_name(name: str) -> FamilySpec | None:
    """The family that a checkpoint's name gives away, or None."""
    return next((s for s in CATALOG.values() if re.search(s.name_pattern, name, re.IGNORECASE)), None)


def family_by_files(folder: Path) -> FamilySpec:
    """The family that a checkpoint's own files give away.

    Raises `ModelLoadError` that names the supported ones, or the file that cannot be read.
    """
    model_type = str(_read_json(folder / "config.json").get("model_type"))
    adapter_base = _read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if isinstance(adapter_base, str) and (spec := family_by_name(adapter_base)):
        return spec
    if model_type == "xlm-roberta" and any(folder.glob("sparse_linear.*")):
        return CATALOG["bge-m3"]
    for spec in CATALOG.values():
        if model_type in spec.model_types:
            return spec
    raise ModelLoadError(
        f"{folder.name} is of no family that is served here, or its folder has no config.json. "
        f"Supported families: {', '.join(CATALOG)}."
    )


def _read_json(path: Path) -> dict[str, Any]:
    """The object in the file; an empty one if there is no such file. Raises `ModelLoadError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelLoadError(
            f"{path.name} of {path.parent.name} is broken or cannot be read. Copy it again."
        ) from error
    return content if isinstance(content, dict) else {}
