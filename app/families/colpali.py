"""ColPali: PaliGemma with a projection to one vector a token (arXiv:2407.01449)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.models.gemma.tokenization_gemma import GemmaTokenizer
from transformers.models.paligemma.configuration_paligemma import PaliGemmaConfig
from transformers.models.paligemma.modeling_paligemma import PaliGemmaModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from app.core.errors import BadInputError
from app.core.types import NO_LIMITS, ImageLimits
from app.families.base import LoadOptions, Prepared
from app.families.catalog import CATALOG
from app.families.torch_model import cat_to_device, torch_dtype
from app.families.visual_model import PROJECTION_DIM, VisualModel, padding_mask

KEY_MAPPING = {
    r"^model\.model\.": "",
    r"^model\.language_model\.model\.": "language_model.",
    r"^model\.language_model\.": "language_model.",
    r"^model\.vision_tower\.": "vision_tower.",
    r"^model\.multi_modal_projector\.": "multi_modal_projector.",
}
"""Names of weights as colpali-engine saves them, with today's transformers and with older ones -> ours."""

NOT_NEEDED = [r"(^|\.)lm_head\.", r"\.inv_freq$", r"\.position_ids$"]
"""The head that writes text, and buffers that are computed."""


class ColPali(PaliGemmaModel):  # type: ignore[misc]
    """The backbone, without the head that would score every word of the vocabulary, and the projection."""

    _keys_to_ignore_on_load_unexpected = NOT_NEEDED

    def __init__(self, config: PaliGemmaConfig) -> None:
        super().__init__(config)
        self.custom_text_proj = nn.Linear(config.text_config.hidden_size, PROJECTION_DIM)
        self.post_init()


class ColPaliModel(VisualModel):
    """Models of the family `colpali`. Every page is resized to the same square, whatever its shape."""

    spec = CATALOG["colpali"]
    module_class = ColPali
    tokenizer_class = GemmaTokenizer
    image_processor_class = SiglipImageProcessorPil
    key_mapping = KEY_MAPPING
    before_text = "<bos>"
    augmentation = "<pad>"
    # colpali-engine's prompt has one `<bos>`, to which transformers' PaliGemma processor adds another.
    after_image = "<bos><bos>Describe the image.\n"

    @classmethod
    def attention(cls, options: LoadOptions) -> str:
        """SDPA: every token sees every other, which FlashAttention's masks do not express beside padding."""
        return "sdpa"

    def resized_size(self, width: int, height: int, limits: ImageLimits) -> tuple[int, int]:
        if limits != NO_LIMITS:
            raise BadInputError(
                "ColPali reads every image at one size; leave out `max_pixels` and `max_visual_tokens`, or take a "
                "model of the families colqwen2.5 or colqwen2."
            )
        if width < 1 or height < 1:
            raise BadInputError("An image needs at least one pixel.")
        return self._image_processor.size["width"], self._image_processor.size["height"]

    def layout(self, pixels: Tensor) -> Tensor:
        return pixels.contiguous()

    def pixel_values(self, batch: Sequence[Prepared]) -> Tensor:
        pixels = cat_to_device([item.inputs["pixels"] for item in batch], self.info.device)
        pixels = pixels.view(len(batch), 3, *pixels.shape[1:])
        return self._normalization(pixels.flatten(2)).view(pixels.shape).to(torch_dtype(self.info.dtype))

    def last_hidden_states(self, batch: Sequence[Prepared], input_ids: Tensor) -> Tensor:
        output = self.module(
            input_ids=input_ids,
            attention_mask=padding_mask(batch, self.info.device),
            pixel_values=self.pixel_values(batch) if "pixels" in batch[0].inputs else None,
            # All zeros: every token sees every other, as in training. Without them transformers decides by whether
            # there is padding, and one query would give other vectors alone than in a batch.
            token_type_ids=torch.zeros_like(input_ids),
            use_cache=False,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden
