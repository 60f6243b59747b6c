"""Makes `models/starter/colpali-starter`.

.venv/bin/python -m recipes.pages.colpali
"""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.models.paligemma.configuration_paligemma import PaliGemmaConfig

from app.families.colpali import ColPali
from app.starter.visual import COLPALI_IMAGES, COLPALI_NAMES, rounded, save_visual, write_json
from app.starter.visual_tokenizers import gemma_tokenizer
from recipes import STARTER
from recipes.evaluate import measure
from recipes.pages.cards import card
from recipes.pages.curriculum import Stage, train_reader
from recipes.pages.language_model import LARGEST_VOCABULARY, load_language_model
from recipes.pages.reader import Reader, Typography
from recipes.pages.siglip_tower import PATCH, PATCHES_A_SIDE, SiglipTower, patches
from recipes.pages.whitening import sample_patches
from recipes.pages.words import Words, words

NAME = "colpali-starter"
SEED = 13
DIM = 192
DEPTH = 4
HIDDEN = 88
"""Width of the language model: small, because the file has its table of words twice."""

CARD = card(
    NAME,
    "colpali",
    "vidore/colpali-v1.3",
    f"SigLIP with {DEPTH} layers of width {DIM}, pages of {PATCH * PATCHES_A_SIDE} x {PATCH * PATCHES_A_SIDE} pixels, "
    f"patches of {PATCH} x {PATCH}, and a language model of one layer of width {HIDDEN}.",
    SEED,
)

PIECES = ((210, 105), (168, 147), (252, 84))
STAGES = (
    Stage(600, PIECES, n=16, typography=Typography(20, 28, n_faces=6)),
    Stage(1600, PIECES, n=16, typography=Typography(16, 34, n_faces=30)),
    Stage(9900, PIECES, n=16, typography=Typography(11, 40)),
    Stage(12100, ((420, 210), (336, 252), (252, 336)), n=4, typography=Typography(11, 40)),
    Stage(12800, ((672, 672),), n=1, typography=Typography(11, 40)),
)


def reader() -> Reader[SiglipTower]:
    """The vision tower and the words, trained as far as they are not yet."""
    torch.manual_seed(SEED)
    vocabulary = words()
    tower = SiglipTower(DEPTH, DIM, HIDDEN)
    tower.patch_embedding.fit(sample_patches(vocabulary, (420, 210), patches))
    untrained = Reader(tower, DIM, HIDDEN, vocabulary, nn.RMSNorm(HIDDEN, eps=1e-6))
    train_reader(NAME, untrained, vocabulary, STAGES, SEED)
    return untrained


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
