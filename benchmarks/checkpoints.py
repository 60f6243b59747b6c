"""Checkpoints of the true shapes of the multilingual E5 models, with random weights and the starter's vocabulary.

The published vocabulary has 250,000 pieces, this one about 2,900: the embedding matrix is smaller, what is computed
for a token is the same.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from app.starter.text import EncoderShape, build_e5

CACHE = Path(__file__).parent / ".cache"
"""What benchmarks build once: checkpoints, exports, logs. Also the MODELS_DIR of the servers they start."""

E5_SHAPES = {
    "small": EncoderShape(dim=384, n_layers=12, n_heads=12, model_type="bert"),
    "base": EncoderShape(dim=768, n_layers=12, n_heads=12),
    "large": EncoderShape(dim=1024, n_layers=24, n_heads=16),
}


def e5_checkpoint(size: str) -> Path:
    """The folder of `multilingual-e5-<size>`, built if it is not there yet."""
    folder = CACHE / f"multilingual-e5-{size}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as scratch:
            unfinished = Path(scratch) / size
            unfinished.mkdir()
            build_e5(unfinished, E5_SHAPES[size])
            unfinished.rename(folder)
    return folder
