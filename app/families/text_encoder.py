"""What E5 and BGE-M3 share: an XLM-RoBERTa or BERT encoder over texts of unequal length."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from app.core.errors import ModelLoadError
from app.core.types import Output, TextInput
from app.families.adapter_files import base_key, shared_part
from app.families.base import Checkpoint, FamilySpec, LoadOptions, ModelInfo, Prepared
from app.families.encoder_weights import read_encoder
from app.families.encoders import GRAPH_RUNTIMES, EncoderRunner, open_encoder, with_backend
from app.families.files import read_json
from app.families.low_rank import read_adapter
from app.families.onednn import pack_linears
from app.families.shared_bases import Share
from app.families.text_tokenizer import TextTokenizer
from app.families.torch_model import TorchModel, memory_bytes


@dataclass(frozen=True, slots=True)
class OpenEncoder:
    """An encoder in memory, for every model that uses its weights."""

    config: Any
    runner: EncoderRunner

    @property
    def memory_bytes(self) -> int:
        return self.runner.memory_bytes


@dataclass(frozen=True, slots=True)
class ServedEncoder:
    """One model's encoder: that of its base, with an adapter if it has one."""

    runner: EncoderRunner
    share: Share[OpenEncoder]

    @property
    def config(self) -> Any:
        return self.share.weights.config

    @property
    def own_bytes(self) -> int:
        """What it takes beside its base."""
        return self.runner.memory_bytes if self.runner is not self.share.weights.runner else 0


class TextEncoderModel(TorchModel):
    """A model that reads text with an encoder; families make their vectors of its hidden states with `heads`."""

    def __init__(
        self, encoder: ServedEncoder, heads: nn.Module, options: LoadOptions, max_tokens: int, tokenizer: TextTokenizer
    ) -> None:
        own_bytes = encoder.own_bytes + memory_bytes(heads)
        self._runner = encoder.runner
        pack_linears(heads)
        info = ModelInfo(
            dim=encoder.config.hidden_size,
            max_tokens=max_tokens,
            device=options.device,
            dtype=self._runner.dtype,
            backend=self._runner.backend,
            attention=self._runner.attention,
            padding=self._runner.padding,
        )
        super().__init__(heads, info, own_bytes, encoder.share)
        self.tokenizer = tokenizer

    def close(self) -> None:
        del self._runner
        super().close()

    @abstractmethod
    def prompt(self, item: TextInput) -> str:
        """The text as the model reads it."""

    def prepare_text(self, item: TextInput) -> Prepared:
        (prepared,) = self.prepare_texts([item])
        return prepared

    def prepare_texts(self, items: Sequence[TextInput]) -> list[Prepared]:
        return self.prepare_prompts([self.prompt(item) for item in items], [item.outputs for item in items])

    def prepare_prompts(self, prompts: Sequence[str], outputs: Sequence[frozenset[Output]]) -> list[Prepared]:
        """Tokenize texts as they stand, each for the outputs that are wanted of it."""
        tokenized = self.tokenizer.tokenize(prompts, with_pieces=any(Output.MULTI_VECTOR in o for o in outputs))
        return [
            Prepared(
                inputs={"input_ids": text.ids, "pieces": text.pieces},
                n_tokens=len(text.ids),
                outputs=wanted,
                truncated=text.truncated,
            )
            for text, wanted in zip(tokenized, outputs, strict=True)
        ]

    def hidden_states(self, batch: Sequence[Prepared]) -> list[Tensor]:
        """The last hidden states of each text, [n_tokens, dim] float32, in order and without padding."""
        return self._runner([item.inputs["input_ids"] for item in batch])


def open_served(spec: FamilySpec, checkpoint: Checkpoint, options: LoadOptions) -> ServedEncoder:
    """The checkpoint's encoder, over weights that are in memory already if another model has them.

    In int8 an adapter is merged into a copy of its base. Raises `ModelLoadError`.
    """
    part = shared_part(checkpoint, options)
    share = options.bases.share(base_key(spec.name, part, options), lambda: _open(spec, part, options))
    runner = share.weights.runner
    if part != checkpoint:
        runner = runner.adapted(read_adapter(checkpoint.path, {}, _for_weights(options, runner.backend)))
    return ServedEncoder(runner, share)


def load_encoder(spec: FamilySpec, checkpoint: Checkpoint, options: LoadOptions) -> Any:
    """The checkpoint's transformer on its device. Raises `ModelLoadError`."""
    from app.families.pretrained_encoder import load_pretrained_encoder

    return load_pretrained_encoder(checkpoint, _model_type(spec, checkpoint), options)


def _open(spec: FamilySpec, checkpoint: Checkpoint, options: LoadOptions) -> OpenEncoder:
    options = with_backend(options, read_json(_config_file(checkpoint)).get("hidden_act", "gelu"))
    if checkpoint.base is None and options.backend in GRAPH_RUNTIMES:
        encoder: Any = read_encoder(checkpoint.path, _model_type(spec, checkpoint))
    else:
        encoder = load_encoder(spec, checkpoint, _for_weights(options, options.backend))
    # The encoder is used up: its weights go into the form in which they are computed with.
    return OpenEncoder(encoder.config, open_encoder(encoder, options))


def _for_weights(options: LoadOptions, backend: str) -> LoadOptions:
    """With the dtype in which weights are read: graph runtimes make theirs of float32."""
    return replace(options, dtype="float32") if backend in GRAPH_RUNTIMES else options


def _config_file(checkpoint: Checkpoint) -> Path:
    return (checkpoint.base or checkpoint.path) / "config.json"


def _model_type(spec: FamilySpec, checkpoint: Checkpoint) -> str:
    model_type: str = read_json(_config_file(checkpoint)).get("model_type")
    if model_type not in spec.model_types:
        raise ModelLoadError(
            f"A checkpoint of the family {spec.name} has model_type {' or '.join(sorted(spec.model_types))} "
            "in its config.json; this one has another."
        )
    return model_type


def max_tokens(config: Any, context_length: int) -> int:
    """`context_length`, or as many tokens as there are positions: XLM-RoBERTa's begin after the padding id."""
    unused = config.pad_token_id + 1 if config.model_type == "xlm-roberta" else 0
    n_positions: int = config.max_position_embeddings - unused
    return min(context_length, n_positions)
