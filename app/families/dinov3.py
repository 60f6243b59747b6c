"""DINOv3: one vector for the whole image and one for each of its patches (Siméoni et al., arXiv:2508.10104).

The reference is transformers' `DINOv3ViTModel`. The vectors are the model's own, not normalized.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from PIL import Image
from transformers import DINOv3ViTModel

from app.core.errors import ModelLoadError
from app.core.types import (
    NO_LIMITS,
    Embedding,
    FloatArray,
    ImageInput,
    ImageLimits,
    MultiVectorEmbedding,
    Output,
    PatchGrid,
)
from app.families.base import Checkpoint, LoadOptions, ModelInfo, Prepared
from app.families.catalog import CATALOG
from app.families.dinov3_pixels import MAX_IMAGE_SIZE, Preprocessing, fitting_grid, square_grid
from app.families.files import read_json
from app.families.onednn import pack_linears
from app.families.pretrained import load_pretrained
from app.families.torch_model import TorchModel, cat_to_device, choose_attention, memory_bytes, to_numpy

NOT_NEEDED = r"\.inv_freq$"
"""A buffer that is computed."""


class DinoV3Model(TorchModel):
    """The vision transformers of DINOv3, from ViT-S to ViT-7B."""

    spec = CATALOG["dinov3"]

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Self:
        require_vision_transformer(checkpoint)
        preprocessing = Preprocessing.read(checkpoint)
        attention = choose_attention(options)
        module = load_pretrained(
            DINOv3ViTModel, checkpoint, options, attention=attention, key_mapping={}, may_be_unexpected=NOT_NEEDED
        )
        return cls(module, model_info(module, options, attention), preprocessing)

    def __init__(self, module: Any, info: ModelInfo, preprocessing: Preprocessing) -> None:
        super().__init__(module, info, memory_bytes(module))
        pack_linears(module)
        self._preprocessing = preprocessing
        self._patch_size: int = module.config.patch_size
        self._n_before_patches: int = 1 + module.config.num_register_tokens

    def patch_grid(self, width: int, height: int, limits: ImageLimits = NO_LIMITS) -> PatchGrid:
        return fitting_grid(width, height, self._patch_size, limits)

    def prepare_image(self, item: ImageInput, image: Image.Image) -> Prepared:
        if item.image_size is None:
            grid = self.patch_grid(*image.size, item.limits)
        else:
            grid = square_grid(item.image_size, self._patch_size)
        width, height = grid.n_patches_x * self._patch_size, grid.n_patches_y * self._patch_size
        return Prepared(
            inputs={"pixel_values": self._preprocessing.pixel_values(image, width, height), "grid": grid},
            n_tokens=self._n_before_patches + grid.n_patches,
            batch_key=("image", height, width),
            outputs=item.outputs,
        )

    def forward_batch(self, batch: Sequence[Prepared]) -> list[Embedding]:
        pixel_values = cat_to_device([item.inputs["pixel_values"] for item in batch], self.info.device)
        pixel_values = pixel_values.view(len(batch), 3, *pixel_values.shape[1:])
        hidden = self.module(pixel_values=pixel_values).last_hidden_state
        return list(self._embeddings(batch, hidden))

    def _embeddings(self, batch: Sequence[Prepared], hidden: torch.Tensor) -> Iterator[Embedding]:
        """`hidden` [batch, n_tokens, dim]: the class token, the register tokens, then the patches row by row."""
        class_tokens = to_numpy(hidden[:, 0])
        wanting = [index for index, item in enumerate(batch) if Output.MULTI_VECTOR in item.outputs]
        patches = dict(zip(wanting, self._patches(hidden, wanting), strict=True))
        for index, item in enumerate(batch):
            rows = patches.get(index)
            yield Embedding(
                n_tokens=item.n_tokens,
                dense=class_tokens[index] if Output.DENSE in item.outputs else None,
                multi_vector=None if rows is None else MultiVectorEmbedding(rows, grid=item.inputs["grid"]),
            )

    def _patches(self, hidden: torch.Tensor, wanting: Sequence[int]) -> Sequence[FloatArray]:
        """[n_patches, dim] of the images with these indices, in one transfer for all."""
        if not wanting:
            return ()
        patches = hidden[:, self._n_before_patches :]
        return list(to_numpy(patches if len(wanting) == len(hidden) else patches[list(wanting)]))


def require_vision_transformer(checkpoint: Checkpoint) -> None:
    """Raise `ModelLoadError` for another kind of model."""
    model_type = read_json(checkpoint.path / "config.json").get("model_type")
    if model_type == "dinov3_convnext":
        raise ModelLoadError("DINOv3's ConvNeXt models have no patch vectors; take one of its ViT models.")
    if model_type not in DinoV3Model.spec.model_types:
        raise ModelLoadError("A checkpoint of the family dinov3 has model_type dinov3_vit; this one has another.")


def model_info(module: Any, options: LoadOptions, attention: str) -> ModelInfo:
    config = module.config
    return ModelInfo(
        dim=config.hidden_size,
        max_tokens=1 + config.num_register_tokens + (MAX_IMAGE_SIZE // config.patch_size) ** 2,
        device=options.device,
        dtype=options.dtype,
        attention=attention,
        patch_size=config.patch_size,
    )
