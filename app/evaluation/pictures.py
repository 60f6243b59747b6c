"""Recognizing pictures: retrieval under a change, objects and background by a linear probe, handwritten digits."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.types import FloatArray, IntArray, PatchGrid
from app.evaluation.batches import batches
from app.evaluation.client import ServedModel, ServerClient
from app.evaluation.metrics import (
    BoolArray,
    accuracy,
    balanced_accuracy,
    expected_recall_at_k,
    knn_labels,
    majority_accuracy,
    probed_labels,
    recall_at_k,
    unit_rows,
)
from app.evaluation.report import Row
from app.evaluation.sets import PictureSet

BATCH = 16
N_NEIGHBOURS = 5
TRAIN_SHARE = 2 / 3
"""Of the scenes: the probe is fitted on the first ones and judged by the others."""
DIGIT_SIDE = 112
"""Pixels that a digit of 8 x 8 is enlarged to."""
GREY_LEVELS = 15
"""From one step of ink, of which a digit has up to 16, to the next."""


@dataclass(frozen=True, slots=True)
class PictureEvaluation:
    """Generated pictures, and scikit-learn's digits."""

    data: PictureSet

    name = "pictures"
    title = "Pictures"

    @property
    def note(self) -> str:
        return (
            f"recall@1: the CLS vector of a changed picture finds its original among {len(self.data.gallery)}, by "
            "change. Objects: accuracy of a linear probe on the patches that tells objects from background in held-out "
            f"scenes; balanced: both count alike. Digits: accuracy of the {N_NEIGHBOURS} nearest neighbours."
        )

    @staticmethod
    def suits(model: ServedModel) -> bool:
        return {"image:dense", "image:multi_vector"} <= model.capabilities

    def evaluate(self, client: ServerClient, model: ServedModel) -> list[Row]:
        """One row."""
        return [
            {
                "model": model.name,
                **self._recalls(client, model.name),
                **self._objects(client, model.name),
                "digits": self._digits(client, model.name),
            }
        ]

    def anchors(self) -> list[Row]:
        """Nearest neighbours by pixels; the answers that need no look at the picture."""
        n_train = self._n_train_scenes()
        pixels = self.data.digits.reshape(len(self.data.digits), -1).astype(np.float32)
        recall = expected_recall_at_k(len(self.data.gallery), 1)
        return [
            {"model": "pixels", "digits": self._digit_accuracy(pixels)},
            {
                "model": "chance",
                "recall@1": recall,
                **dict.fromkeys(self.data.changed, recall),
                "objects": majority_accuracy(self.data.objects[n_train:].ravel().astype(np.int64)),
                "balanced": 0.5,
                "digits": majority_accuracy(self.data.labels[self.data.is_test]),
            },
        ]

    def _recalls(self, client: ServerClient, model: str) -> dict[str, float]:
        """By change, and their mean."""
        gallery = self._cls(client, model, self.data.gallery, "gallery")
        own = [{index} for index in range(len(gallery))]
        recalls = {
            change: float(recall_at_k(self._cls(client, model, pictures, change) @ gallery.T, own, 1).mean())
            for change, pictures in self.data.changed.items()
        }
        return {"recall@1": float(np.mean(list(recalls.values()))), **recalls}

    def _objects(self, client: ServerClient, model: str) -> dict[str, float]:
        features: list[FloatArray] = []
        with Image.open(io.BytesIO(self.data.scenes[0])) as scene:
            grid = client.patch_grid(model, *scene.size)
        for batch in batches(self.data.scenes, BATCH, f"{model}: scenes"):
            features += [found.patches for found in client.picture_features(model, batch, with_patches=True)]
        labels = [patch_labels(objects, grid) for objects in self.data.objects]
        n_train = self._n_train_scenes()
        truth = np.concatenate(labels[n_train:])
        found = probed_labels(
            np.concatenate(features[:n_train]), np.concatenate(labels[:n_train]), np.concatenate(features[n_train:])
        )
        return {"objects": accuracy(found, truth), "balanced": balanced_accuracy(found, truth)}

    def _digits(self, client: ServerClient, model: str) -> float:
        images = [_digit_file(digit) for digit in self.data.digits]
        return self._digit_accuracy(self._cls(client, model, images, "digits"))

    def _digit_accuracy(self, rows: FloatArray) -> float:
        """`rows` [n, dim] of all digits."""
        test, labels = self.data.is_test, self.data.labels
        return accuracy(knn_labels(rows[~test], labels[~test], rows[test], N_NEIGHBOURS), labels[test])

    def _n_train_scenes(self) -> int:
        return round(TRAIN_SHARE * len(self.data.scenes))

    def _cls(
        self, client: ServerClient, model: str, pictures: tuple[bytes, ...] | list[bytes], label: str
    ) -> FloatArray:
        """CLS vectors at unit length: [n, dim]."""
        vectors = [
            found.cls
            for batch in batches(pictures, BATCH, f"{model}: {label}")
            for found in client.picture_features(model, batch)
        ]
        return unit_rows(np.stack(vectors))


def patch_labels(objects: BoolArray, grid: PatchGrid) -> IntArray:
    """0 or 1 for each patch of a grid, of the part of `objects` [n_rows, n_columns] in which its centre lies, row by
    row: [n_patches]."""
    n_rows, n_columns = objects.shape
    rows = ((np.arange(grid.n_patches_y) + 0.5) * n_rows / grid.n_patches_y).astype(int)
    columns = ((np.arange(grid.n_patches_x) + 0.5) * n_columns / grid.n_patches_x).astype(int)
    labels: IntArray = objects[np.ix_(rows, columns)].ravel().astype(np.int64)
    return labels


def _digit_file(digit: NDArray[np.uint8]) -> bytes:
    """A PNG of dark paper with light ink."""
    grey = Image.fromarray(digit * np.uint8(GREY_LEVELS))
    file = io.BytesIO()
    grey.convert("RGB").resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()
