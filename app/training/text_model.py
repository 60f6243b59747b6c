"""A text checkpoint as sentence-transformers trains it."""

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, prepare_model_for_kbit_training
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn

from app.core.types import Role
from app.families import bge_m3, e5
from app.families.base import LoadOptions
from app.families.bge_m3 import WITHOUT_WEIGHT, BgeM3Heads, load_head
from app.families.catalog import CATALOG
from app.families.text_encoder import load_encoder, max_tokens
from app.training.losses import M3Loss
from app.training.older_adapter import require_trainable
from app.training.options import LoraOptions, Method
from app.training.qlora import qlora_problem, quantization
from app.training.task import TrainingFailedError, TrainingTask

DEFAULT_MAX_SEQ_LENGTH = 256
HEADS = ("sparse_linear", "colbert_linear")
ADAPTED = r".*layer\.\d+\.(attention\.self\.(query|key|value)|(attention\.output|intermediate|output)\.dense)"
"""Names of the layers that an adapter changes: all linear ones of the encoder."""


@dataclass(frozen=True, slots=True)
class TextFamily:
    """What differs between the families in training."""

    pooling: str
    """How a text's vector is made of its tokens, as sentence-transformers calls it."""
    context_length: int
    query_prompt: str = ""
    passage_prompt: str = ""


FAMILIES = {
    "e5": TextFamily("mean", e5.CONTEXT_LENGTH, e5.PREFIXES[Role.QUERY], e5.PREFIXES[Role.DOCUMENT]),
    "bge-m3": TextFamily("cls", bge_m3.CONTEXT_LENGTH),
}


@dataclass(frozen=True, slots=True)
class TrainableText:
    """A model and what is trained beside it."""

    model: Any
    """A `SentenceTransformer`; its first module's `model` is the encoder, with the adapter's layers if there is one."""
    family: TextFamily
    heads: BgeM3Heads | None = None
    """BGE-M3's, if they are trained."""

    @property
    def encoder(self) -> Any:
        return self.model[0].model


def load_trainable(task: TrainingTask) -> TrainableText:
    """The base in float32, with an older adapter merged into it, or in 4 bits; only what the task trains is not frozen.

    An adapter's new matrices are drawn from torch's random numbers. Raises `ModelLoadError`, `TrainingFailedError`.
    """
    require_trainable(task)
    if task.family == "e5":
        e5.require_mean_pooling(task.base_path)
    family = FAMILIES[task.family]
    transformer = _quantized(task) if task.method is Method.QLORA else _whole(task)
    if task.lora is None:
        transformer.model.requires_grad_(True)
    else:
        transformer.model.add_adapter(lora_config(task.lora))
    transformer.max_seq_length = max_seq_length(task, transformer.model.config)
    pooling = Pooling(transformer.model.config.hidden_size, family.pooling)
    model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device=task.device)
    return TrainableText(model, family, _heads(task) if task.options.train_heads else None)


def max_seq_length(task: TrainingTask, config: Any) -> int:
    """Tokens of a text that are read in training: never more than the model has positions for."""
    limit = max_tokens(config, FAMILIES[task.family].context_length)
    return min(task.options.max_seq_length or DEFAULT_MAX_SEQ_LENGTH, limit)


def lora_config(options: LoraOptions) -> LoraConfig:
    return LoraConfig(
        task_type="FEATURE_EXTRACTION",
        r=options.r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=ADAPTED,
    )


def heads_loss(text: TrainableText, heads: BgeM3Heads, mini_batch_size: int) -> M3Loss:
    """The loss that trains BGE-M3's heads along."""
    special_ids = [getattr(text.model.tokenizer, f"{name}_id") for name in WITHOUT_WEIGHT]
    return M3Loss(text.model, heads, special_ids, mini_batch_size)


def _whole(task: TrainingTask) -> Transformer:
    """The encoder by the loader that serves it, which refuses a checkpoint that lacks a weight."""
    transformer = _transformer(task, {"dtype": torch.float32})
    transformer.model = None  # Before the other is loaded: one copy is enough.
    options = LoadOptions(device=task.device, dtype="float32")
    transformer.model = load_encoder(CATALOG[task.family], task.checkpoint, options)
    return transformer


def _quantized(task: TrainingTask) -> Transformer:
    problem = qlora_problem(task.device)
    if problem is not None:
        raise TrainingFailedError(problem)
    transformer = _transformer(task, {"quantization_config": quantization(), "device_map": {"": task.device}})
    transformer.model = prepare_model_for_kbit_training(transformer.model, use_gradient_checkpointing=False)
    return transformer


def _transformer(task: TrainingTask, model_options: dict[str, Any]) -> Transformer:
    """The tokenizer, an older adapter's own if it has one, and the base without the pooler, which is not used."""
    options = {"add_pooling_layer": False, "use_safetensors": True, "attn_implementation": "sdpa", **model_options}
    transformer = Transformer(str(task.base_path), model_kwargs=options)
    if task.adapter_path is not None and (task.adapter_path / "tokenizer.json").is_file():
        tokenizer_class: Any = type(transformer.processor)
        transformer.processor = tokenizer_class.from_pretrained(str(task.adapter_path), local_files_only=True)
    return transformer


def _heads(task: TrainingTask) -> BgeM3Heads | None:
    if task.family != "bge-m3":
        raise TrainingFailedError("Only BGE-M3 has heads to train: leave out `train_heads`.")
    options = LoadOptions(device=task.device)
    heads: nn.Module = BgeM3Heads(*(load_head(task.checkpoint, name, options) for name in HEADS))
    return heads.requires_grad_(True)  # type: ignore[return-value]
