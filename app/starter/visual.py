"""Builds small untrained checkpoints of ColQwen2.5, ColQwen2 and ColPali, in the layout of the published ones."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.paligemma.configuration_paligemma import PaliGemmaConfig
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLConfig

from app.families.colpali import ColPali
from app.families.colqwen2 import ColQwen2
from app.families.colqwen2_5 import ColQwen2_5
from app.starter.card import write_card
from app.starter.visual_tokenizers import gemma_tokenizer, qwen2_tokenizer
from app.starter.weights import randomize

DIM = 64
PATCH = 14

QWEN_NAMES = {r"^language_model\.": "model."}
COLPALI_NAMES = {
    r"^language_model\.": "model.language_model.model.",
    r"^vision_tower\.": "model.vision_tower.vision_model.",
    r"^multi_modal_projector\.": "model.multi_modal_projector.",
}
"""Our names of weights -> those in the published checkpoints, which older releases of transformers wrote."""

TEXT = {
    "hidden_size": DIM,
    "intermediate_size": 2 * DIM,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
QWEN_TEXT = {
    **TEXT,
    "bos_token_id": None,
    "eos_token_id": None,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
}
QWEN2_5_VISION = {
    "depth": 2,
    "hidden_size": DIM,
    "intermediate_size": 2 * DIM,
    "num_heads": 4,
    "out_hidden_size": DIM,
    "window_size": 8 * PATCH,
    "fullatt_block_indexes": [1],
}

QWEN_IMAGES = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "Qwen2VLImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "max_pixels": 768 * (2 * PATCH) ** 2,
    "merge_size": 2,
    "min_pixels": 4 * (2 * PATCH) ** 2,
    "patch_size": PATCH,
    "resample": 3,
    "rescale_factor": 1 / 255,
    "temporal_patch_size": 2,
}
COLPALI_SIDE = 32 * PATCH
COLPALI_IMAGES = {
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_seq_length": (COLPALI_SIDE // PATCH) ** 2,
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "ColPaliProcessor",
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"height": COLPALI_SIDE, "width": COLPALI_SIDE},
}


def build_colqwen2_5(
    folder: Path,
    text: Mapping[str, Any] = QWEN_TEXT,
    vision: Mapping[str, Any] = QWEN2_5_VISION,
    fill: Callable[[nn.Module, int], None] = randomize,
) -> None:
    """Write a checkpoint with the files of `vidore/colqwen2.5-v0.2` merged into its base, of the given shapes.

    `fill` sets all weights, given the module and a seed.
    """
    tokenizer = qwen2_tokenizer()
    config = Qwen2_5_VLConfig(
        **qwen_tokens(tokenizer),
        text_config={**text, "vocab_size": rounded(len(tokenizer))},
        vision_config=dict(vision),
    )
    _write(folder, ColQwen2_5(config), tokenizer, seed=25, names=QWEN_NAMES, fill=fill)
    write_json(folder / "preprocessor_config.json", {**QWEN_IMAGES, "processor_class": "ColQwen2_5_Processor"})
    write_card(folder, title="ColQwen2.5", original="vidore/colqwen2.5-v0.2", library="colpali")


def build_colqwen2(folder: Path) -> None:
    """Write a checkpoint with the files of `vidore/colqwen2-v1.0` merged into its base."""
    tokenizer = qwen2_tokenizer()
    config = Qwen2VLConfig(
        **qwen_tokens(tokenizer),
        text_config={**QWEN_TEXT, "vocab_size": rounded(len(tokenizer))},
        vision_config={"depth": 2, "embed_dim": DIM, "hidden_size": DIM, "mlp_ratio": 2, "num_heads": 4},
    )
    _write(folder, ColQwen2(config), tokenizer, seed=2, names=QWEN_NAMES)
    write_json(folder / "preprocessor_config.json", {**QWEN_IMAGES, "processor_class": "ColQwen2Processor"})
    write_card(folder, title="ColQwen2", original="vidore/colqwen2-v1.0", library="colpali")


def build_colpali(folder: Path) -> None:
    """Write a checkpoint with the files of `vidore/colpali-v1.3` merged into its base."""
    tokenizer = gemma_tokenizer()
    config = PaliGemmaConfig(
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=DIM,
        hidden_size=DIM,
        text_config={
            **TEXT,
            "model_type": "gemma",
            "num_key_value_heads": 1,
            "head_dim": 16,
            "vocab_size": rounded(len(tokenizer)),
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": DIM,
            "intermediate_size": 2 * DIM,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": COLPALI_SIDE,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
    )
    _write(folder, ColPali(config), tokenizer, seed=13, names=COLPALI_NAMES, head="model.language_model.lm_head.weight")
    write_json(folder / "preprocessor_config.json", COLPALI_IMAGES)
    write_card(folder, title="ColPali", original="vidore/colpali-v1.3", library="colpali")


def qwen_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """What a configuration says of the tokens that stand for pictures."""
    tokens = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    tokens |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}


def rounded(vocabulary_size: int) -> int:
    """Up to a multiple of 64, as embeddings usually are."""
    return -(-vocabulary_size // 64) * 64


def _write(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    names: Mapping[str, str],
    head: str | None = None,
    fill: Callable[[nn.Module, int], None] = randomize,
) -> None:
    fill(model, seed)
    save_visual(folder, model, tokenizer, names=names, head=head)


def save_visual(
    folder: Path,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    names: Mapping[str, str],
    head: str | None = None,
) -> None:
    """Write weights, configuration and tokenizer; under `head` a copy of the embeddings, for colpali-engine."""
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = {_published(name, names): weight.detach().contiguous() for name, weight in model.state_dict().items()}
    if head is not None:
        weights[head] = model.get_input_embeddings().weight.detach().clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _published(name: str, names: Mapping[str, str]) -> str:
    for pattern, replacement in names.items():
        name = re.sub(pattern, replacement, name)
    return name


def write_json(path: Path, content: Any) -> None:
    """As the configuration files of the hub are laid out."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
