"""The training's pictures, drawn once and kept on disk."""

import numpy as np
from numpy.typing import NDArray

from recipes import CACHE
from recipes.images.scenes import SIDE, TRAINING, draw

N_PICTURES = 6000
SEED = 1


def training_pictures() -> NDArray[np.uint8]:
    """[N_PICTURES, SIDE, SIDE, 3], mapped from a file of 0.9 GB that the first call draws (two minutes)."""
    path = CACHE / "images" / f"training-{N_PICTURES}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        shape = (N_PICTURES, SIDE, SIDE, 3)
        pictures = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        for number in range(N_PICTURES):
            pictures[number] = draw(SEED, number, TRAINING).pixels
            if (number + 1) % 1000 == 0:
                print(f"drawn {number + 1} of {N_PICTURES} pictures", flush=True)
        pictures.flush()
        unfinished.replace(path)
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return mapped
