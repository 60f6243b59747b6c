"""Where the heads of a vision tower look at first: each at one neighbour, as a convolution does.

Left to themselves, heads take long to find the patches beside them (compare ConViT, arXiv:2103.10697).
"""

HEAD_DIM = 16
"""Of the towers' heads."""

CONTENT_GAIN = 0.3
"""Of the matrices for queries and keys at the start, so that places count more than contents."""

AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
NEAR = (*AROUND, (0, -2), (0, 0), (0, 0), (0, 2))
ALONG = (*AROUND, (0, -6), (0, -3), (0, 3), (0, 6))
"""Patches down and across, one for each of twelve heads: all around; along the line of text too."""


def neighbours(layer: int, depth: int) -> tuple[tuple[int, int], ...]:
    """Of a layer's heads: letters are found in the first half of the layers, words in the second."""
    return NEAR if layer <= depth // 2 else ALONG
