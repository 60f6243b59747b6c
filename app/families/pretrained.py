"""Reads checkpoints in the Hugging Face format into a transformers model, and refuses those that do not fit it.

transformers fills weights that a file lacks with random numbers and only warns. Served, they would be random
vectors, so here a missing, unexpected or misshapen weight is an error.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers.utils import logging

from app.core.errors import ModelLoadError
from app.families.adapter_files import ADAPTER_WEIGHTS
from app.families.base import Checkpoint, LoadOptions
from app.families.torch_model import torch_dtype

# A bar for weights that take a tenth of a second says nothing; downloads keep theirs.
logging.disable_progress_bar()

UNREADABLE = "The checkpoint cannot be read: a file is missing, broken or of another kind."
_ADAPTER_PREFIX = "base_model.model."


def load_pretrained(
    module_class: Any,
    checkpoint: Checkpoint,
    options: LoadOptions,
    attention: str,
    key_mapping: Mapping[str, str],
    may_be_unexpected: str | None = None,
) -> Any:
    """A `module_class` (a `PreTrainedModel`) with the checkpoint's weights, on its device, in evaluation mode.

    An adapter is merged into its base. `key_mapping` maps regular expressions for the start of a weight's name
    to its replacement; all are applied in turn. Weights that match the regular expression `may_be_unexpected`, or the
    class's own `_keys_to_ignore_on_load_unexpected`, are left aside. Raises `ModelLoadError`.
    """
    module, report = _from_pretrained(
        module_class,
        checkpoint.base or checkpoint.path,
        dtype=torch_dtype(options.dtype),
        attn_implementation=attention,
        key_mapping=dict(key_mapping),
        use_safetensors=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    unexpected = report["unexpected_keys"]
    if may_be_unexpected is not None:
        unexpected = [name for name in unexpected if not re.search(may_be_unexpected, name)]
    require_complete(
        missing=report["missing_keys"],
        unexpected=unexpected,
        misshapen=[name for name, *_ in report["mismatched_keys"]],
    )
    module.to(options.device)
    if checkpoint.base is not None:
        module = merge_adapter(module, checkpoint.path, key_mapping)
    return module.eval().requires_grad_(False)


def require_complete(*, missing: Iterable[str], unexpected: Iterable[str], misshapen: Iterable[str] = ()) -> None:
    """Raise `ModelLoadError` naming a few weights, unless all three are empty."""
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    problems = [f"{len(names)} {kind} (first: {names[0]})" for kind, group in kinds.items() if (names := sorted(group))]
    if problems:
        raise ModelLoadError(f"The checkpoint's weights do not fit its family: {'; '.join(problems)}.")


def merge_adapter(module: Any, folder: Path, key_mapping: Mapping[str, str]) -> Any:
    """Add a LoRA adapter's weights to those of `module`, which then costs no more than without. Returns it.

    Which modules it adapts is read from the names of its weights: `target_modules` may be a regular expression
    written for the module names of an older transformers. Raises `ModelLoadError`.
    """
    from peft import LoraConfig, PeftModel, set_peft_model_state_dict

    weights = {_renamed(name, key_mapping): weight for name, weight in read_adapter_weights(folder).items()}
    config = LoraConfig.from_pretrained(str(folder))
    if config.peft_type != "LORA":
        raise ModelLoadError(f"The adapter is of the type {config.peft_type}; only LoRA adapters can be loaded.")
    adapted_names = {name.split(".lora_")[0].removeprefix(_ADAPTER_PREFIX) for name in weights if ".lora_" in name}
    config.target_modules = sorted(adapted_names)
    config.inference_mode = True
    adapted = PeftModel(module, config)
    report = set_peft_model_state_dict(adapted, weights)
    missing = [name for name in report.missing_keys if ".lora_" in name]
    require_complete(missing=missing, unexpected=report.unexpected_keys)
    return adapted.merge_and_unload()


def renamed(name: str, key_mapping: Mapping[str, str]) -> str:
    """The weight's name as the module has it, from that in a checkpoint; the mapping is as in `load_pretrained`."""
    for pattern, replacement in key_mapping.items():
        name = re.sub(pattern, replacement, name)
    return name


def load_tokenizer(tokenizer_class: Any, checkpoint: Checkpoint) -> Tokenizer:
    """The tokenizer of a checkpoint as `tokenizers` has it, which several threads may use at once.

    A transformers tokenizer would change its padding and truncation with each call ("Already borrowed").
    Raises `ModelLoadError`.
    """
    tokenizer: Tokenizer = load_part(tokenizer_class, checkpoint, "tokenizer.json").backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def load_image_processor(processor_class: Any, checkpoint: Checkpoint) -> Any:
    """A `processor_class` with the checkpoint's settings. Raises `ModelLoadError`."""
    # Older and newer releases of transformers keep the settings in these.
    return load_part(processor_class, checkpoint, "preprocessor_config.json", "processor_config.json")


def load_part(part_class: Any, checkpoint: Checkpoint, *files: str) -> Any:
    """A `part_class` (tokenizer, ...) that is made from one of `files` in the adapter's folder, else in its base's.

    Without the file transformers would make up a tokenizer that knows no words. Raises `ModelLoadError`.
    """
    folders = [folder for folder in (checkpoint.path, checkpoint.base) if folder is not None]
    folder = next((folder for folder in folders if any((folder / file).is_file() for file in files)), None)
    if folder is None:
        raise ModelLoadError(f"The checkpoint has no {' or '.join(files)}.")
    return _from_pretrained(part_class, folder)


def ids_of(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Token ids of a prompt. Raises `ModelLoadError` if the tokenizer does not know a special token in it."""
    for token in re.findall(r"<[^<>]+>", text):
        if tokenizer.token_to_id(token) is None:
            raise ModelLoadError(f"The checkpoint's tokenizer does not know {token}: it is not of this family.")
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def read_adapter_weights(folder: Path) -> dict[str, Tensor]:
    """An adapter's weights by their names in its file. Raises `ModelLoadError`."""
    try:
        return load_file(folder / ADAPTER_WEIGHTS)
    except Exception as error:
        raise ModelLoadError(f"The adapter's {ADAPTER_WEIGHTS} is missing or broken.") from error


def _from_pretrained(loaded_class: Any, folder: Path, **arguments: Any) -> Any:
    try:
        return loaded_class.from_pretrained(str(folder), local_files_only=True, **arguments)
    except (OSError, ValueError, KeyError) as error:
        raise ModelLoadError(UNREADABLE) from error


def _renamed(name: str, key_mapping: Mapping[str, str]) -> str:
    return _ADAPTER_PREFIX + renamed(name.removeprefix(_ADAPTER_PREFIX), key_mapping)
