"""A trained reader as a checkpoint of ColQwen2 or ColQwen2.5, in half precision."""

from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLConfig

from app.families.colqwen2 import ColQwen2
from app.starter.visual import QWEN_IMAGES, QWEN_NAMES, qwen_tokens, rounded, save_visual, write_json
from app.starter.visual_tokenizers import qwen2_tokenizer
from recipes.pages.language_model import LARGEST_VOCABULARY, load_language_model
from recipes.pages.qwen2_tower import Qwen2Tower
from recipes.pages.reader import Reader
from recipes.pages.words import Words


def qwen_text(dim: int, vocabulary_size: int) -> dict[str, object]:
    """A language model of one layer."""
    return {
        "hidden_size": dim,
        "intermediate_size": 2 * dim,
        "num_hidden_layers": 1,
        "num_attention_heads": dim // 32,
        "num_key_value_heads": dim // 64,
        "bos_token_id": None,
        "eos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]},
        "vocab_size": vocabulary_size,
    }


def word_tokenizer(words: Words) -> PreTrainedTokenizerBase:
    """Each word of the pages is one token, however it is written; others are spelled in pieces."""
    every = [*words.drawn, *words.unseen]
    tokenizer: PreTrainedTokenizerBase = qwen2_tokenizer(every, LARGEST_VOCABULARY, bare=every)
    return tokenizer


def colqwen2(reader: Reader[Qwen2Tower], words: Words) -> tuple[ColQwen2, PreTrainedTokenizerBase]:
    """The reader as a whole ColQwen2. Its language model adds nothing yet to what goes through it."""
    tower = reader.tower
    tokenizer = word_tokenizer(words)
    vision = tower.visual.config
    config = Qwen2VLConfig(
        **qwen_tokens(tokenizer),
        text_config=qwen_text(vision.hidden_size, rounded(len(tokenizer))),
        vision_config={
            "depth": vision.depth,
            "embed_dim": vision.embed_dim,
            "hidden_size": vision.hidden_size,
            "mlp_ratio": vision.mlp_ratio,
            "num_heads": vision.num_heads,
        },
    )
    torch.manual_seed(0)
    model = ColQwen2(config)
    weights = tower.visual.state_dict()
    weights = {name: weight for name, weight in weights.items() if not name.startswith("patch_embed.")}
    kernel = tower.visual.patch_embed.kernel().detach().unflatten(1, (3, 1, vision.patch_size, vision.patch_size))
    weights["patch_embed.proj.weight"] = kernel.repeat(1, 1, vision.temporal_patch_size, 1, 1) / 2
    model.visual.load_state_dict(weights)
    load_language_model(model, reader, words, tokenizer)
    return model, tokenizer


def write_qwen(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, processor: str) -> None:
    """Write the checkpoint's files; `processor` is the class of colpali-engine that reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_visual(folder, model.half(), tokenizer, names=QWEN_NAMES)
    write_json(folder / "preprocessor_config.json", {**QWEN_IMAGES, "processor_class": processor})
