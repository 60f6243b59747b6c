"""The language model of an exported reader: a table of words, and layers that pass everything through."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from recipes.pages.reader import AnyTower, Reader
from recipes.pages.words import Words

LARGEST_VOCABULARY = 40_000
"""More than the words need: the tokenizer stops when each is one token."""


@torch.no_grad()
def load_language_model(
    model: PreTrainedModel,
    reader: Reader[AnyTower],
    words: Words,
    tokenizer: PreTrainedTokenizerBase,
    *,
    norm_offset: float = 0.0,
    embedding_scale: float = 1.0,
) -> None:
    """Set embeddings, final norm and projection; the outputs of the layers to zero, so that they are the identity.

    `norm_offset` is what the norm adds to its weights, `embedding_scale` what the model multiplies embeddings by.
    """
    for layer in model.language_model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    model.language_model.norm.weight.copy_(reader.norm.weight.detach() - norm_offset)
    model.custom_text_proj.load_state_dict(reader.projection.state_dict())
    embeddings: nn.Parameter = model.get_input_embeddings().weight
    embeddings[:] = reader.background / embedding_scale
    embeddings[: len(tokenizer)] = token_vectors(reader, words, tokenizer) / embedding_scale


def token_vectors(reader: Reader[AnyTower], words: Words, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """[n_tokens, hidden]: of what the token spells; of the background where that is no letters, or a silent word.

    Every page has a background, so a silent word adds the same to the score of each.
    """
    texts = [tokenizer.decode([index]).strip() for index in range(len(tokenizer))]
    silent = words.silent
    spelled = [
        index for index, text in enumerate(texts) if text.isascii() and text.isalpha() and text.lower() not in silent
    ]
    vectors = reader.background.detach().repeat(len(texts), 1)
    vectors[spelled] = reader.spelling.of([texts[index] for index in spelled]).detach()
    return vectors
