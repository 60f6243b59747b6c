"""Checkpoints with random weights: the true shapes of the multilingual E5 models, a small BGE-M3; a small vocabulary.

The published vocabulary has 250,000 pieces, this one about 2,900: the embedding matrix is smaller, what is computed
for a token is the same.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from app.starter.text import EncoderShape, build_bge_m3, build_e5

CACHE = Path(__file__).parent / ".cache"
"""What benchmarks build once: checkpoints, exports, logs. Also the MODELS_DIR of the servers they start."""

E5_SHAPES = {
    "small": EncoderShape(dim=384, n_layers=12, n_heads=12, model_type="bert"),
    "base": EncoderShape(dim=768, n_layers=12, n_heads=12),
    "large": EncoderShape(dim=1024, n_layers=24, n_heads=16),
}
BGE_M3_SHAPE = replace(E5_SHAPES["small"], model_type="xlm-roberta")


def e5_checkpoint(size: str) -> Path:
    """The folder of `multilingual-e5-<size>`, built if it is not there yet."""
    return _built(f"multilingual-e5-{size}", lambda folder: build_e5(folder, E5_SHAPES[size]))


def bge_m3_checkpoint() -> Path:
    """The folder of a BGE-M3 as wide and as deep as the small E5, built if it is not there yet."""
    return _built("bge-m3-small", lambda folder: build_bge_m3(folder, BGE_M3_SHAPE))


def _built(name: str, build: Callable[[Path], None]) -> Path:
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as scratch:
            unfinished = Path(scratch) / name
            unfinished.mkdir()
            build(unfinished)
            unfinished.rename(folder)
    return folder
