"""A reader's words in a narrower language model: trained, they differ in few of its directions (about 16 of 128)."""

from typing import Any

import torch
from torch import Tensor

from recipes.pages.reader import Reader


@torch.no_grad()
def narrowing(old: Reader[Any], hidden: int) -> Tensor:
    """Those directions of the language model that the projection tells apart best [hidden, old width]."""
    directions: Tensor = torch.linalg.svd(_projection(old))[2]
    return directions[:hidden]


@torch.no_grad()
def rewrite_words(old: Reader[Any], new: Reader[Any], directions: Tensor) -> None:
    """Set projection, vectors of words and what finds letters; the new language model has these directions alone."""
    vectors = old.spelling()
    # RMSNorm divides by a mean over fewer features, which are the larger ones.
    longer = (vectors @ directions.T).square().mean(1).sqrt() / vectors.square().mean(1).sqrt()
    new.projection.weight.copy_(longer.mean() * _projection(old) @ directions.T)
    new.projection.bias.copy_(old.projection.bias)
    new.background.copy_(directions @ old.background)
    new.spelling.letters.load_state_dict(old.spelling.letters.state_dict())
    new.spelling.outer.weight.copy_(directions @ old.spelling.outer.weight)
    new.spelling.outer.bias.copy_(directions @ old.spelling.outer.bias)
    new.letter_head.load_state_dict(old.letter_head.state_dict())


def _projection(reader: Reader[Any]) -> Tensor:
    """With the weights of the norm before it."""
    weight: Tensor = reader.projection.weight * reader.norm.weight
    return weight
