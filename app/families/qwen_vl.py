"""What ColQwen2 and ColQwen2.5 share: the prompt, the image processor, the loading."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from app.core.errors import BadInputError
from app.core.types import ImageLimits, PatchGrid
from app.families.base import ModelInfo, Prepared
from app.families.pixels import patches
from app.families.qwen_vision import align_mlps, fuse_passes, tower_inputs, use_varlen_attention
from app.families.shared_bases import Share
from app.families.torch_model import cat_to_device, to_device, torch_dtype
from app.families.varlen_attention import choose_varlen_attention
from app.families.visual_model import SharedModule, VisualModel, pad_left, padding_mask

MAX_VISUAL_TOKENS = 768
"""Most image tokens a page, as the published ColQwen checkpoints were trained."""

KEY_MAPPING = {
    r"^model\.visual\.": "visual.",
    r"^model\.language_model\.": "language_model.",
    r"^model\.layers\.": "language_model.layers.",
    r"^model\.embed_tokens\.": "language_model.embed_tokens.",
    r"^model\.norm\.": "language_model.norm.",
}
"""Names of weights as older releases of transformers saved them (all of the hub's checkpoints) -> today's."""

NOT_NEEDED = [r"^lm_head\.", r"\.inv_freq$"]
"""The head that writes text, and a buffer that is computed."""


class QwenVisualModel(VisualModel):
    """A Qwen vision-language model with ColPali's projection; its patch grid follows the page's own shape."""

    tokenizer_class = Qwen2Tokenizer
    image_processor_class = Qwen2VLImageProcessorPil
    key_mapping = KEY_MAPPING
    # The prompts of colpali-engine's ColQwen2 and ColQwen2.5 processors.
    augmentation = "<|endoftext|>"
    before_image = "<|im_start|>user\n<|vision_start|>"
    after_image = "<|vision_end|>Describe the image.<|im_end|><|endoftext|>"

    def __init__(
        self,
        module: Any,
        info: ModelInfo,
        own_bytes: int,
        tokenizer: Tokenizer,
        image_processor: Any,
        share: Share[SharedModule] | None = None,
    ) -> None:
        image_processor = _capped(image_processor)
        if info.device.startswith("cuda"):
            info = _made_for_gpu(module, info)
        super().__init__(module, info, own_bytes, tokenizer, image_processor, share)

    @classmethod
    def simplify(cls, module: Any) -> None:
        module.visual.patch_embed = image_patch_embedding(module.visual.patch_embed.proj)
        if module.device.type == "cuda":
            align_mlps(module.visual)

    def resized_size(self, width: int, height: int, limits: ImageLimits) -> tuple[int, int]:
        least, most = self._image_processor.size["shortest_edge"], self._most_pixels(limits)
        try:
            new_height, new_width = smart_resize(height, width, self._token_side, min_pixels=least, max_pixels=most)
        except (ValueError, ArithmeticError) as error:
            raise BadInputError(
                "An image needs at least one pixel, and its long side at most 200 times its short side."
            ) from error
        # It keeps the shape, and no side is shorter than one token; small images are scaled up and rounded up.
        if new_width * new_height > most:
            raise BadInputError(
                "An image of this shape takes more pixels or visual tokens with this model; raise the limit."
            )
        return new_width, new_height

    def _most_pixels(self, limits: ImageLimits) -> int:
        """Of a resized image. Raises `BadInputError` if that is less than any image takes."""
        token_pixels = self._token_side**2
        size = self._image_processor.size
        most: int = size["longest_edge"]
        if limits.max_pixels is not None:
            most = min(most, limits.max_pixels)
        if limits.max_visual_tokens is not None:
            most = min(most, limits.max_visual_tokens * token_pixels)
        if most < size["shortest_edge"]:
            least_tokens = -(-size["shortest_edge"] // token_pixels)
            raise BadInputError(
                f"An image takes at least {size['shortest_edge']} pixels or {least_tokens} visual tokens with this "
                "model; raise `max_pixels` or `max_visual_tokens`."
            )
        return most

    def layout(self, pixels: Tensor) -> Tensor:
        return patches(pixels, self._image_processor.patch_size, self._image_processor.merge_size)

    def pixel_values(self, batch: Sequence[Prepared]) -> Tensor:
        pixels = cat_to_device([item.inputs["pixels"] for item in batch], self.info.device)
        return self._normalization(pixels.view(len(pixels), 3, -1)).flatten(1).to(torch_dtype(self.info.dtype))

    def last_hidden_states(self, batch: Sequence[Prepared], input_ids: Tensor) -> Tensor:
        # As the forward pass of transformers' model, which waits for the GPU several times a batch to count what is
        # known here: so nothing could be launched while the batch before is computed.
        module: Any = self.module
        embedded = module.get_input_embeddings()(input_ids)
        positions = None
        if "pixels" in batch[0].inputs:
            embedded = self._with_pages(embedded, batch)
            positions = to_device(pad_left([_positions(item) for item in batch]).permute(2, 0, 1), self.info.device)
        output = module.language_model(
            inputs_embeds=embedded, attention_mask=self._attention_mask(batch), position_ids=positions, use_cache=False
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _with_pages(self, embedded: Tensor, batch: Sequence[Prepared]) -> Tensor:
        """Tokens [batch, longest, hidden_size], image tokens replaced by what the vision tower makes of the pages."""
        visual: Any = self.module.visual
        grid_thw = torch.tensor([self._grid_thw(item) for item in batch])
        inputs = tower_inputs(visual.config, grid_thw, self.info.device)
        pages = visual(self.pixel_values(batch), grid_thw=grid_thw, **inputs).pooler_output
        places = to_device(_image_places(batch, embedded.shape[1]), self.info.device)
        return embedded.flatten(0, 1).index_copy(0, places, pages.to(embedded.dtype)).view(embedded.shape)

    def _attention_mask(self, batch: Sequence[Prepared]) -> Tensor | None:
        """As the language model's attention takes it. None: every token sees those before it."""
        if len({item.n_tokens for item in batch}) == 1:
            return None
        mask = padding_mask(batch, self.info.device)
        language_model: Any = self.module.language_model
        if self.info.attention.startswith("flash") or language_model.has_sliding_layers:
            # From this transformers makes what they need, for which it waits for a GPU.
            return mask
        longest = mask.shape[1]
        return mask[:, None, None] & torch.ones(longest, longest, dtype=torch.bool, device=mask.device).tril()

    def _grid_thw(self, item: Prepared) -> tuple[int, int, int]:
        """Patches in time, height and width; `merge_size` x `merge_size` of them become one visual token."""
        grid: PatchGrid = item.inputs["content"].grid
        merge = self._image_processor.merge_size
        return 1, grid.n_patches_y * merge, grid.n_patches_x * merge


def _image_places(batch: Sequence[Prepared], longest: int) -> Tensor:
    """Where the image tokens of pages are among all tokens [batch * longest], of which those of padding come first."""
    places = []
    for row, item in enumerate(batch):
        start, grid = item.inputs["content"].start, item.inputs["content"].grid
        places.append(torch.arange(grid.n_patches) + (row + 1) * longest - item.n_tokens + start)
    return torch.cat(places)


def _positions(item: Prepared) -> Tensor:
    """Of a page's tokens in time, height and width, [n_tokens, 3] int64: text counts on, patches share one time."""
    start: int = item.inputs["content"].start
    grid: PatchGrid = item.inputs["content"].grid
    rows, columns = torch.meshgrid(torch.arange(grid.n_patches_y), torch.arange(grid.n_patches_x), indexing="ij")
    patches_at = torch.stack((torch.zeros_like(rows), rows, columns), dim=-1).flatten(0, 1) + start
    after = torch.arange(item.n_tokens - start - grid.n_patches) + start + max(grid.n_patches_x, grid.n_patches_y)
    return torch.cat((torch.arange(start)[:, None].expand(-1, 3), patches_at, after[:, None].expand(-1, 3)))


def _made_for_gpu(module: Any, info: ModelInfo) -> ModelInfo:
    """Change the module in place to what a GPU computes faster; what is known of it then."""
    fuse_passes(module)
    config = module.visual.config
    head_dim = module.visual.blocks[0].attn.qkv.in_features // config.num_heads
    varlen = choose_varlen_attention(info.device, torch_dtype(info.dtype), head_dim)
    if varlen is None:
        return info
    use_varlen_attention(module.visual, varlen)
    names = dict.fromkeys((info.attention, varlen.name))
    return replace(info, attention="+".join(names))


def image_patch_embedding(convolution: nn.Conv3d) -> nn.Linear:
    """Qwen2-VL's patch embedding for still images: rows of pixels [n_patches, 3 * side * side] -> [n_patches, hidden].

    The convolution's kernel is as large as a patch, so it is a matrix product. In time it covers two frames, which for
    an image are the same one: kernels summed over time do with half of the numbers. torch convolves slowly in 3D.
    """
    kernels = convolution.weight.detach()
    weight = kernels.float().sum(2).flatten(1)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.to(kernels.dtype), requires_grad=False)
    return linear


def _capped(processor: Qwen2VLImageProcessorPil) -> Qwen2VLImageProcessorPil:
    """The processor with its own limit of pixels, or that of `MAX_VISUAL_TOKENS` if that is lower."""
    most_pixels = MAX_VISUAL_TOKENS * (processor.patch_size * processor.merge_size) ** 2
    processor.size["longest_edge"] = min(processor.size["longest_edge"], most_pixels)
    return processor
