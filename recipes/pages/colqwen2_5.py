"""Makes `models/starter/colqwen2.5-starter` from the reader of ColQwen2's recipe.

.venv/bin/python -m recipes.pages.colqwen2_5
"""

import torch
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig

from app.families.colqwen2_5 import ColQwen2_5
from app.starter.visual import qwen_tokens, rounded
from recipes import STARTER
from recipes.evaluate import measure
from recipes.pages.cards import card
from recipes.pages.colqwen2 import DEPTH, DIM, HIDDEN, SEED, reader
from recipes.pages.language_model import load_language_model
from recipes.pages.qwen2_tower import Qwen2Tower
from recipes.pages.qwen_export import colqwen2, qwen_text, write_qwen
from recipes.pages.qwen_rewriting import qwen2_5_vision
from recipes.pages.reader import Reader
from recipes.pages.words import Words, words

NAME = "colqwen2.5-starter"
CARD = card(
    NAME,
    "colqwen2.5",
    "vidore/colqwen2.5-v0.2",
    f"Qwen2.5-VL's vision tower with {DEPTH} layers of width {DIM}, which sees the whole page in each, and a language "
    f"model of one layer of width {HIDDEN}. The weights are those of colqwen2-starter, rewritten exactly.",
    SEED,
)


def colqwen2_5(trained: Reader[Qwen2Tower], vocabulary: Words) -> tuple[ColQwen2_5, PreTrainedTokenizerBase]:
    """The reader as a whole ColQwen2.5."""
    older, tokenizer = colqwen2(trained, vocabulary)
    vision = older.config.vision_config
    config = Qwen2_5_VLConfig(
        **qwen_tokens(tokenizer),
        text_config=qwen_text(vision.hidden_size, rounded(len(tokenizer))),
        vision_config={
            "depth": vision.depth,
            "hidden_size": vision.embed_dim,
            "intermediate_size": vision.embed_dim * vision.mlp_ratio,
            "num_heads": vision.num_heads,
            "out_hidden_size": vision.hidden_size,
            "fullatt_block_indexes": list(range(vision.depth)),
        },
    )
    torch.manual_seed(0)
    model = ColQwen2_5(config)
    model.visual.load_state_dict(qwen2_5_vision(older.visual.state_dict(), vision.depth))
    load_language_model(model, trained, vocabulary, tokenizer)
    return model, tokenizer


def main() -> None:
    """Train what is not trained yet; write checkpoint, figures and card."""
    write_qwen(STARTER / NAME, *colqwen2_5(reader(), words()), "ColQwen2_5_Processor")
    measure(STARTER / NAME, CARD)


if __name__ == "__main__":
    main()
