"""What the visual retrievers share: one vector a token, for pages as for texts (ColPali, arXiv:2407.01449)."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from app.core.errors import BadInputError, ModelLoadError
from app.core.types import (
    NO_LIMITS,
    Embedding,
    ImageInput,
    ImageLimits,
    MultiVectorEmbedding,
    PatchGrid,
    Role,
    TextInput,
)
from app.families.adapter_files import base_key, shared_part
from app.families.base import Checkpoint, LoadOptions, ModelInfo, Prepared
from app.families.cuda_streams import launching
from app.families.low_rank import copy_sharing_weights, memory_of, read_adapter, with_adapter
from app.families.onednn import pack_linears
from app.families.pixels import Normalization, resize
from app.families.pretrained import ids_of, load_image_processor, load_pretrained, load_tokenizer
from app.families.shared_bases import Share
from app.families.torch_model import TorchModel, choose_attention, memory_bytes, to_device, to_numpy

PROJECTION_DIM = 128
"""Width of the vectors of every published checkpoint of these families."""

N_AUGMENTATION_TOKENS = 10
"""Tokens after a query that the model may use as a scratchpad; as many as colpali-engine appends."""

MAX_TEXT_TOKENS = 2048
"""Longest text that is read, of what the model's context would allow: the training texts had at most a few hundred."""

CHARS_A_TOKEN = 16
"""More than nearly every token has."""


@dataclass(frozen=True, slots=True)
class Content:
    """The user's own part of what the model reads."""

    start: int
    """Its first token."""
    tokens: tuple[str, ...] = ()
    grid: PatchGrid | None = None


@dataclass(frozen=True, slots=True)
class SharedModule:
    """A module in memory, for every model that uses its weights; it computes nothing itself."""

    module: Any
    memory_bytes: int

    def copy(self) -> Any:
        """A module around the same weights, which its model may change."""
        return copy_sharing_weights(self.module)


class VisualModel(TorchModel):
    """A vision-language model whose last hidden states are projected to one unit vector a token."""

    module_class: ClassVar[Any]
    """A `PreTrainedModel` that returns hidden states and has the projection as `custom_text_proj`."""
    tokenizer_class: ClassVar[Any]
    image_processor_class: ClassVar[Any]
    key_mapping: ClassVar[Mapping[str, str]]
    """As `load_pretrained` takes it."""
    before_text: ClassVar[str] = ""
    augmentation: ClassVar[str]
    """The token that follows a query ten times."""
    before_image: ClassVar[str] = ""
    after_image: ClassVar[str]

    def __init__(
        self,
        module: Any,
        info: ModelInfo,
        own_bytes: int,
        tokenizer: Tokenizer,
        image_processor: Any,
        share: Share[SharedModule] | None = None,
    ) -> None:
        super().__init__(module, info, own_bytes, share)
        if image_processor.resample != Image.Resampling.BICUBIC:
            raise ModelLoadError("The checkpoint's image processor resizes with another filter than bicubic.")
        self._tokenizer = tokenizer
        self._image_processor = image_processor
        self._normalization = Normalization.of(image_processor)
        self._image_token_id: int = module.config.image_token_id
        # Pixels of a resized image across one visual token.
        self._token_side: int = (info.patch_size or 1) * (info.spatial_merge_size or 1)
        self._before_text = ids_of(tokenizer, self.before_text)
        self._after_query = ids_of(tokenizer, self.augmentation) * N_AUGMENTATION_TOKENS
        self._before_image = ids_of(tokenizer, self.before_image)
        self._after_image = ids_of(tokenizer, self.after_image)

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        part = shared_part(checkpoint, options)
        share = options.bases.share(base_key(cls.spec.name, part, options), lambda: cls._read_packed(part, options))
        base = share.weights
        if part == checkpoint:
            return cls._made(base.copy(), 0, checkpoint, options, share)
        adapter = read_adapter(checkpoint.path, cls.key_mapping, options)
        return cls._made(with_adapter(base.module, adapter), memory_of(adapter), checkpoint, options, share)

    @classmethod
    def load_unpacked(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        """As `load`, with linear layers that adapters can be put on and that gradients go through."""
        module = cls._read(checkpoint, options)
        return cls._made(module, memory_bytes(module), checkpoint, options)

    @classmethod
    def _read(cls, checkpoint: Checkpoint, options: LoadOptions) -> Any:
        """The checkpoint's module on its device, an adapter merged into it."""
        attention = cls.attention(options)
        module = load_pretrained(cls.module_class, checkpoint, options, attention, cls.key_mapping)
        cls.simplify(module)
        return module

    @classmethod
    def _read_packed(cls, checkpoint: Checkpoint, options: LoadOptions) -> SharedModule:
        module = cls._read(checkpoint, options)
        n_bytes = memory_bytes(module)
        pack_linears(module)
        return SharedModule(module, n_bytes)

    @classmethod
    def _made(
        cls,
        module: Any,
        own_bytes: int,
        checkpoint: Checkpoint,
        options: LoadOptions,
        share: Share[SharedModule] | None = None,
    ) -> Self:
        """The model around a module of its own, whose weights take `own_bytes` beside those that are shared."""
        vision, text = module.config.vision_config, module.config.text_config
        info = ModelInfo(
            dim=module.custom_text_proj.out_features,
            max_tokens=min(MAX_TEXT_TOKENS, text.max_position_embeddings),
            device=options.device,
            dtype=options.dtype,
            attention=cls.attention(options),
            patch_size=vision.patch_size,
            spatial_merge_size=getattr(vision, "spatial_merge_size", None),
            image_token_id=module.config.image_token_id,
        )
        tokenizer = load_tokenizer(cls.tokenizer_class, checkpoint)
        image_processor = load_image_processor(cls.image_processor_class, checkpoint)
        return cls(module, info, own_bytes, tokenizer, image_processor, share)

    @classmethod
    def simplify(cls, module: Any) -> None:
        """Change the module in place to one that computes the same with fewer weights."""

    @classmethod
    def attention(cls, options: LoadOptions) -> str:
        """`attn_implementation` for transformers."""
        return choose_attention(options)

    @abstractmethod
    def layout(self, pixels: Tensor) -> Tensor:
        """A resized image [3, height, width] uint8 as it waits for the model, without a copy that is not needed."""

    @abstractmethod
    def pixel_values(self, batch: Sequence[Prepared]) -> Tensor:
        """What the vision tower reads of a batch of images: normalized pixels in its dtype, on the model's device."""

    @abstractmethod
    def last_hidden_states(self, batch: Sequence[Prepared], input_ids: Tensor) -> Tensor:
        """Of inputs that share a `batch_key`, whose ids [batch, longest] are on the model's device, padded before them.

        To [batch, longest, hidden_size].
        """

    def prepare_text(self, item: TextInput) -> Prepared:
        after = self._after_query if item.role is Role.QUERY else ()
        room = self.info.max_tokens - len(self._before_text) - len(after)
        ids, tokens, truncated = self._tokenize(item.text, room)
        ids = [*self._before_text, *ids, *after]
        if not ids:
            raise BadInputError(f"{item.label} is empty.")
        content = Content(len(self._before_text), tokens=tuple(tokens))
        inputs = {"input_ids": torch.tensor(ids), "content": content}
        return Prepared(inputs, n_tokens=len(ids), batch_key="text", outputs=item.outputs, truncated=truncated)

    @abstractmethod
    def resized_size(self, width: int, height: int, limits: ImageLimits) -> tuple[int, int]:
        """Width and height to which the image processor resizes such an image. Raises `BadInputError`."""

    def patch_grid(self, width: int, height: int, limits: ImageLimits = NO_LIMITS) -> PatchGrid:
        resized_width, resized_height = self.resized_size(width, height, limits)
        return PatchGrid(resized_width // self._token_side, resized_height // self._token_side)

    def prepare_image(self, item: ImageInput, image: Image.Image) -> Prepared:
        if item.image_size is not None:
            raise BadInputError("`image_size` is for DINOv3; `max_pixels` makes images smaller for this model.")
        grid = self.patch_grid(*image.size, item.limits)
        pixels = self.layout(resize(image, *self.resized_size(*image.size, item.limits)))
        ids = [*self._before_image, *[self._image_token_id] * grid.n_patches, *self._after_image]
        content = Content(len(self._before_image), grid=grid)
        inputs = {"input_ids": torch.tensor(ids), "content": content, "pixels": pixels}
        return Prepared(inputs, n_tokens=len(ids), batch_key="image", outputs=item.outputs)

    def forward_batch(self, batch: Sequence[Prepared]) -> list[Embedding]:
        with launching(self.info.device):
            vectors = self.vectors(batch)
        return list(self._embeddings(batch, vectors))

    def vectors(self, batch: Sequence[Prepared]) -> Tensor:
        """Unit rows of inputs that share a `batch_key`: [batch, longest, dim], those of padding before the others.

        Outside of inference mode gradients go through it.
        """
        input_ids = to_device(pad_left([item.inputs["input_ids"] for item in batch]), self.info.device)
        return self._project(self.last_hidden_states(batch, input_ids))

    def _tokenize(self, text: str, room: int) -> tuple[list[int], list[str], bool]:
        """Ids and pieces of the text's first `room` tokens, and whether there were more."""
        # A long text's head is enough, unless it is of very long tokens, such as runs of spaces.
        head = text[: room * CHARS_A_TOKEN]
        (encoding,) = self._tokenizer.encode_batch([head], add_special_tokens=False)
        if len(encoding) <= room and len(head) < len(text):
            (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        return encoding.ids[:room], encoding.tokens[:room], len(encoding) > room

    def _project(self, hidden: Tensor) -> Tensor:
        """[..., hidden_size] -> [..., dim], float32. Normalized after the cast: bfloat16 norms are 0.3 % off."""
        projection: nn.Linear = self.module.custom_text_proj  # type: ignore[assignment]
        return normalize(projection(hidden).float(), dim=-1)

    def _embeddings(self, batch: Sequence[Prepared], vectors: Tensor) -> Iterator[Embedding]:
        # All in one transfer, then a copy of each one's own: a view would keep the others' rows as long as its answer.
        for item, rows in zip(batch, to_numpy(vectors), strict=True):
            content: Content = item.inputs["content"]
            own_rows = rows[len(rows) - item.n_tokens :].copy()
            yield Embedding(
                n_tokens=item.n_tokens,
                truncated=item.truncated,
                multi_vector=MultiVectorEmbedding(own_rows, content.tokens, content.start, content.grid),
            )


def padding_mask(batch: Sequence[Prepared], device: str) -> Tensor:
    """[batch, longest] bool on the device: False where `pad_left` puts padding."""
    return to_device(pad_left([torch.ones(item.n_tokens, dtype=torch.bool) for item in batch]), device)


def pad_left(rows: Sequence[Tensor]) -> Tensor:
    """[n_i, ...] each to [batch, longest, ...], zeros before the shorter ones."""
    return pad_sequence(list(rows), batch_first=True, padding_value=0, padding_side="left")
