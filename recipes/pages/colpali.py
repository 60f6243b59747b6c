"""Makes `models/starter/colpali-starter`.

    .venv/bin/python -m recipes.pages.colpali

It begins as ColQwen2's reader, rewritten: that one is trained first, where `recipes/.cache` does not have it.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.models.paligemma.configuration_paligemma import PaliGemmaConfig

from app.families.colpali import ColPali
from app.starter.visual import COLPALI_IMAGES, COLPALI_NAMES, rounded, save_visual, write_json
from app.starter.visual_tokenizers import gemma_tokenizer
from recipes import STARTER
from recipes.evaluate import measure
from recipes.pages import colqwen2
from recipes.pages.cards import READER_REWRITTEN, card
from recipes.pages.curriculum import Rates, Stage, train_reader
from recipes.pages.language_model import LARGEST_VOCABULARY, load_language_model
from recipes.pages.reader import Reader, Typography, snippets
from recipes.pages.siglip_rewriting import HEAD_WIDTH, rewrite
from recipes.pages.siglip_tower import N_CONTENT, PATCH, PATCHES_A_SIDE, SiglipTower
from recipes.pages.words import Words, words

NAME = "colpali-starter"
SEED = 13
N_HEADS = 12
DEPTH = colqwen2.DEPTH + 1
"""The last layer stands for Qwen2-VL's merger."""
INTERMEDIATE = 768
HIDDEN = 32
"""Width of the language model: small, because the file has its table of words twice."""

CARD = card(
    NAME,
    "colpali",
    "vidore/colpali-v1.3",
    f"SigLIP with {DEPTH} layers of width {N_HEADS * HEAD_WIDTH}, pages of {PATCH * PATCHES_A_SIDE} x "
    f"{PATCH * PATCHES_A_SIDE} pixels, patches of {PATCH} x {PATCH}, and a language model of one layer of width "
    f"{HIDDEN}.",
    SEED,
    READER_REWRITTEN,
)

N_SAMPLE_PAGES = 24
SAMPLE_SIZE = (280, 168)

WARM = Rates(adam=3e-4, muon=8e-4, weight_decay=0.0)
STRETCH = (0.7, 1.45)
"""A page becomes a square: letters of an upright one become wider, those of a wide one narrower."""

PIECES = ((224, 112), (168, 168), (280, 84))
STAGES = (
    Stage(5200, PIECES, n=16, typography=Typography(12, 40, stretch=STRETCH)),
    Stage(6400, ((448, 224), (336, 280), (280, 336)), n=4, typography=Typography(12, 40, stretch=STRETCH)),
    Stage(10600, PIECES, n=16, typography=Typography(13, 32, stretch=STRETCH)),
)


def reader() -> Reader[SiglipTower]:
    """ColQwen2's reader, trained if it is not yet, with the tower of SigLIP; trained on, as far as it is not yet."""
    vocabulary = words()
    torch.manual_seed(SEED)
    tower = SiglipTower(DEPTH, N_HEADS, HEAD_WIDTH, INTERMEDIATE, HIDDEN)
    norm = nn.RMSNorm(HIDDEN, eps=1e-6)
    new = Reader(tower, N_CONTENT, HIDDEN, vocabulary, norm, spelling_weight=0.0)
    pages = snippets(np.random.default_rng(SEED), vocabulary, N_SAMPLE_PAGES, SAMPLE_SIZE, Typography(14, 32))
    rewrite(colqwen2.reader(), new, pages)
    train_reader(NAME, new, vocabulary, STAGES, SEED, WARM)
    return new


def colpali(trained: Reader[SiglipTower], vocabulary: Words) -> tuple[ColPali, PreTrainedTokenizerBase]:
    """The reader as a whole ColPali. Its language model adds nothing to what goes through it."""
    tower = trained.tower
    every = [*vocabulary.drawn, *vocabulary.unseen]
    tokenizer = gemma_tokenizer(every, LARGEST_VOCABULARY, bare=every)
    vision = tower.vision.config
    config = PaliGemmaConfig(
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=HIDDEN,
        hidden_size=HIDDEN,
        text_config={
            "model_type": "gemma",
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": 1,
            "num_attention_heads": HIDDEN // 32,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "vocab_size": rounded(len(tokenizer)),
        },
        vision_config={"model_type": "siglip_vision_model", **vision.to_diff_dict()},
    )
    torch.manual_seed(0)
    model = ColPali(config)
    model.vision_tower.load_state_dict(tower.published())
    model.multi_modal_projector.linear.load_state_dict(tower.projector.state_dict())
    # Gemma's norms multiply by 1 + weight, and its embeddings are multiplied by the root of their width.
    load_language_model(model, trained, vocabulary, tokenizer, norm_offset=1.0, embedding_scale=HIDDEN**0.5)
    return model, tokenizer


def write(folder: Path, model: ColPali, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write the checkpoint's files, in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    save_visual(folder, model.half(), tokenizer, names=COLPALI_NAMES, head="model.language_model.lm_head.weight")
    side = PATCH * PATCHES_A_SIDE
    images = {**COLPALI_IMAGES, "image_seq_length": PATCHES_A_SIDE**2, "size": {"height": side, "width": side}}
    write_json(folder / "preprocessor_config.json", images)


def main() -> None:
    """Train; write checkpoint, figures and card."""
    write(STARTER / NAME, *colpali(reader(), words()))
    measure(STARTER / NAME, CARD)


if __name__ == "__main__":
    main()
