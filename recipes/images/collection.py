"""The training's pictures and collages, drawn once and kept on disk."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes import CACHE
from recipes.images.collages import collage
from recipes.images.scenes import SIDE, TRAINING, draw

N_PICTURES, N_COLLAGES = 10_000, 6_000
SEED, COLLAGE_SEED = 1, 2
N_AT_ONCE = 20


def training_pictures() -> NDArray[np.uint8]:
    """[N_PICTURES, SIDE, SIDE, 3], mapped from a file of 1.5 GB that the first call draws (a minute on two cores)."""
    return _kept(CACHE / "images" / f"training-{N_PICTURES}.npy", N_PICTURES, 3, _picture)


def training_collages() -> NDArray[np.uint8]:
    """[N_COLLAGES, SIDE, SIDE, 4], mapped from a file of 1.2 GB; the last channel is 255 on pieces, else 0."""
    training_pictures()
    return _kept(CACHE / "images" / f"collages-{N_COLLAGES}.npy", N_COLLAGES, 4, _collage)


def _picture(number: int) -> NDArray[np.uint8]:
    return draw(SEED, number, TRAINING).pixels


def _collage(number: int) -> NDArray[np.uint8]:
    found = collage(COLLAGE_SEED, number, training_pictures())
    return np.dstack((found.pixels, found.mask * np.uint8(255)))


def _kept(path: Path, n: int, n_channels: int, drawn: Callable[[int], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        shape = (n, SIDE, SIDE, n_channels)
        pictures = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
            for number, picture in enumerate(processes.map(drawn, range(n), chunksize=N_AT_ONCE)):
                pictures[number] = picture
        pictures.flush()
        unfinished.replace(path)
    mapped: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return mapped
