"""LoRA on page models: which layers, and how the result is written, alone or merged into its base."""

import re
import shutil
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from app.families.pretrained import renamed
from app.training.lora_updates import ADAPTER, LoraUpdate, adapter_weights, join, joined_config, trained_updates
from app.training.older_adapter import OlderAdapter
from app.training.options import LoraOptions
from app.training.qlora import quantization
from app.training.task import TrainingFailedError

_LAYERS = "(down_proj|gate_proj|up_proj|k_proj|q_proj|v_proj|o_proj)"
TARGETS = {
    "colqwen2.5": rf"(.*(model).*{_LAYERS}.*$|.*(custom_text_proj).*$)",
    "colqwen2": rf"(.*(model).*{_LAYERS}.*$|.*(custom_text_proj).*$)",
    "colpali": rf"(.*(language_model).*{_LAYERS}.*$|.*(custom_text_proj).*$)",
}
"""Family -> the layers that colpali-engine's recipes adapt: all of the language model's, and the projection."""

SAVED_NAMES: Mapping[str, Mapping[str, str]] = {
    "colqwen2.5": {},
    "colqwen2": {},
    "colpali": {r"^base_model\.model\.language_model\.": "base_model.model.model.model.language_model."},
}
"""Our names of weights -> those that colpali-engine's classes have, family by family."""

_COPIED = ("*.json", "*.jinja", "*.txt", "*.model")
"""Files of a checkpoint beside its weights: tokenizer, image processor, chat template."""
_OF_THE_BASE = re.compile(r"(training|manifest)\.json")
"""How the base itself was made."""
_NOT_OF_ADAPTERS = re.compile(r"(training|manifest|config|generation_config)\.json|.*\.safetensors\.index\.json")


def add_lora(module: Any, family: str, lora: LoraOptions) -> PeftModel:
    """Put untrained matrices on the module's layers, in place; only these are trained."""
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        init_lora_weights="gaussian",
        bias="none",
        task_type="FEATURE_EXTRACTION",
        target_modules=TARGETS[family],
    )
    return get_peft_model(module, config)


def put_in_4_bits(module: Any) -> None:
    """Quantize the language model's linear layers in place, on their GPU (Dettmers et al., arXiv:2305.14314)."""
    for parent in list(module.language_model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, _in_4_bits(child))
    # peft asks for this before it looks at a layer's class.
    module.is_loaded_in_4bit = True


def _in_4_bits(linear: nn.Linear) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Params4bit  # type: ignore[import-not-found]

    settings = quantization()
    kind, compressed = settings.bnb_4bit_quant_type, settings.bnb_4bit_use_double_quant
    quantized: nn.Module = Linear4bit(
        linear.in_features,
        linear.out_features,
        compute_dtype=settings.bnb_4bit_compute_dtype,
        compress_statistics=compressed,
        quant_type=kind,
        device="meta",
    )
    weight = linear.weight.detach()
    quantized.weight = Params4bit(weight, requires_grad=False, quant_type=kind, compress_statistics=compressed)
    quantized.bias = linear.bias
    # This move is what quantizes.
    return quantized.to(weight.device)


def write_adapter(
    folder: Path,
    adapted: PeftModel,
    family: str,
    base_path: Path,
    base_name: str,
    older: OlderAdapter | None = None,
) -> None:
    """The adapter alone, as colpali-engine writes it, over the base of that name; one with that under it."""
    weights = {renamed(name, SAVED_NAMES[family]): weight for name, weight in _weights(adapted, older).items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = copy(adapted.peft_config[ADAPTER])
    if older is not None:
        config = joined_config(config, weights)
        config.revision = older.base_revision
    config.base_model_name_or_path, config.inference_mode = base_name, True
    config.save_pretrained(str(folder))
    _copy_files(base_path, folder, leave=_NOT_OF_ADAPTERS)


def write_merged(
    folder: Path,
    module: nn.Module,
    key_mapping: Mapping[str, str],
    base_path: Path,
    older: OlderAdapter | None = None,
) -> None:
    """The base's own files, with the adapter and that under it added to the weights that they change.

    All others stay bit for bit. `module` has the adapter's layers in it, `key_mapping` is that of the family. Raises
    `TrainingFailedError` if the base lacks a weight that was adapted.
    """
    trained = trained_updates(module)
    updates = dict(join(older.updates, trained) if older else trained)
    _copy_files(base_path, folder, leave=_OF_THE_BASE)
    for file in sorted(base_path.glob("*.safetensors")):
        _write_merged_file(folder / file.name, file, updates, key_mapping)
    if updates:
        raise TrainingFailedError(f"The base has no weight of {min(updates)}, which was trained.")


def _weights(adapted: PeftModel, older: OlderAdapter | None) -> dict[str, Tensor]:
    """Of the adapter, under our names."""
    if older is not None:
        return adapter_weights(join(older.updates, trained_updates(adapted.get_base_model())))
    weights = get_peft_model_state_dict(adapted, adapter_name=ADAPTER, save_embedding_layers=False)
    return {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}


def _write_merged_file(
    target: Path, source: Path, updates: dict[str, LoraUpdate], key_mapping: Mapping[str, str]
) -> None:
    """Takes what it uses out of `updates`."""
    with safe_open(source, framework="pt") as opened:
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
        metadata = opened.metadata()
    for name, weight in weights.items():
        layer, _, kind = renamed(name, key_mapping).rpartition(".")
        if kind == "weight" and layer in updates:
            weights[name] = (weight.float() + updates.pop(layer).product()).to(weight.dtype)
    save_file(weights, target, metadata=metadata)


def _copy_files(source: Path, target: Path, leave: re.Pattern[str]) -> None:
    files = {file for pattern in _COPIED for file in source.glob(pattern) if file.is_file()}
    for file in files:
        if not leave.fullmatch(file.name):
            shutil.copyfile(file, target / file.name)
