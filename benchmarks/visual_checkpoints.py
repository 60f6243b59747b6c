"""The starter's visual checkpoints, and one of ColQwen2.5's architecture with 116 million random weights."""

from pathlib import Path
from tempfile import TemporaryDirectory

from app import starter
from app.starter.visual import QWEN2_5_VISION, QWEN_TEXT, build_colqwen2_5
from benchmarks.checkpoints import CACHE

MIDDLE = "colqwen2.5-middle"

MIDDLE_TEXT = {
    **QWEN_TEXT,
    "hidden_size": 768,
    "intermediate_size": 2560,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
}
MIDDLE_VISION = {
    **QWEN2_5_VISION,
    "depth": 12,
    "hidden_size": 384,
    "intermediate_size": 1152,
    "num_heads": 6,
    "out_hidden_size": 768,
    "fullatt_block_indexes": [5, 11],
}


def visual_checkpoint(name: str) -> Path:
    """The folder of `colqwen2.5-middle`, or of the starter's model of that family; built if it is not there yet."""
    folder = CACHE / (name if name == MIDDLE else f"{starter.UNTRAINED}/{name}")
    if name == MIDDLE and not folder.exists():
        CACHE.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as scratch:
            unfinished = Path(scratch) / name
            unfinished.mkdir()
            build_colqwen2_5(unfinished, MIDDLE_TEXT, MIDDLE_VISION)
            unfinished.rename(folder)
    elif name != MIDDLE:
        starter.ensure(CACHE)
    return folder
