"""Writes the picture sets of `app/evaluation/data/`: pictures that no training has seen, and handwritten digits.

    .venv/bin/python -m recipes.images.evaluation_set

`pictures/`, zip archives of WebP files, each member `000.webp`, `001.webp`, ... in the order of its pictures:

- `gallery.zip`: 200 pictures of 224 x 224 pixels with one to six objects.
- `crop.zip`, `scale.zip`, `color.zip`, `rotation.zip`: each of those 200 under one change (`changes`), number i made
  from picture i. Sizes differ: they are meant to be embedded at their own size.
- `probe.zip`: 150 further pictures of 224 x 224 pixels with four to nine objects. `probe.npz` has `objects`, bool
  [150, 14, 14]: is most of that patch of 16 x 16 pixels an object? Row by row from the top left. A probe is fitted on
  the first 100 pictures and judged by the last 50.

`digits.npz` has scikit-learn's 1,797 handwritten digits (Alpaydin and Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository, 1998; CC BY 4.0): `images` uint8 [1797, 8, 8] from 0 (paper) to 16 (ink),
`labels` uint8 [1797], `is_test` bool [1797] with 500 of them true.

The pictures come from another seed than the training's and have kinds of shapes and textures beside those of the
training (`scenes.EVALUATION`).
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from recipes.images.changes import CHANGES
from recipes.images.scenes import EVALUATION, Picture, draw, patch_labels

DATA = Path(__file__).parents[2] / "app" / "evaluation" / "data"

GALLERY_SEED, PROBE_SEED, DIGITS_SEED = 101, 102, 103
"""The training draws with seed 1."""

N_GALLERY, N_PROBE, N_TEST_DIGITS = 200, 150, 500
PATCH_SIZE = 16
QUALITY = 75
"""Of WebP; 1,150 pictures take 3 MB."""


def main() -> None:
    write_pictures(DATA / "pictures")
    write_digits(DATA / "digits.npz")


def write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    originals = [Image.fromarray(picture.pixels) for picture in gallery()]
    _write_zip(folder / "gallery.zip", originals)
    for name, change in CHANGES.items():
        changed = [change(np.random.default_rng((GALLERY_SEED, i)), image) for i, image in enumerate(originals)]
        _write_zip(folder / f"{name}.zip", changed)
    pictures = [draw(PROBE_SEED, number, EVALUATION, n_objects=(4, 9)) for number in range(N_PROBE)]
    _write_zip(folder / "probe.zip", [Image.fromarray(picture.pixels) for picture in pictures])
    objects = np.array([patch_labels(picture.mask, PATCH_SIZE) for picture in pictures])
    np.savez_compressed(folder / "probe.npz", objects=objects)


def gallery() -> list[Picture]:
    return [draw(GALLERY_SEED, number, EVALUATION, n_objects=(1, 6)) for number in range(N_GALLERY)]


def write_digits(path: Path) -> None:
    digits = load_digits()
    is_test = np.zeros(len(digits.target), bool)
    is_test[np.random.default_rng(DIGITS_SEED).permutation(len(is_test))[:N_TEST_DIGITS]] = True
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    np.savez_compressed(path, images=images, labels=labels, is_test=is_test)


def _write_zip(path: Path, images: Sequence[Image.Image]) -> None:
    """Files named by their number; equal bytes for equal images, as dates are left out."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, image in enumerate(images):
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=QUALITY, method=6)
            archive.writestr(zipfile.ZipInfo(f"{number:03d}.webp"), buffer.getvalue())


if __name__ == "__main__":
    main()
