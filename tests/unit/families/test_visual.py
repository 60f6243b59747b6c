"""The visual families by themselves, on small checkpoints: what must hold whatever the weights are."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app import starter
from app.core.errors import BadInputError
from app.core.types import Embedding, ImageInput, ImageLimits, PatchGrid, Role, TextInput
from app.families import visual_model
from app.families.base import Checkpoint, LoadOptions, Prepared
from app.families.catalog import CATALOG, load_class
from app.families.visual_model import VisualModel
from tests.parity.visual_layouts import FAMILIES
from tests.parity.visual_pictures import page

MIN_COSINE = 0.9999

MIXED_SIZES = [
    *[(1024, 768), (768, 1024), (512, 512), (300, 1200), (1600, 130), (60, 2), (3, 3), (1, 1)],
    *[(200, 100), (100, 200), (28, 28), (29, 57), (640, 480), (1, 150), (500, 499), (850, 1100)],
]
TEXTS = ["revenue", "What was the revenue of the third quarter?", "", "日本語の表 🦊", "a " * 90, "  two  spaces  "]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    starter.ensure(folder)
    return folder


@pytest.fixture(scope="module")
def load(models_dir: Path) -> Callable[..., VisualModel]:
    loaded: dict[tuple[str, str], Any] = {}

    def load(family: str, dtype: str = "float32") -> VisualModel:
        if (family, dtype) not in loaded:
            checkpoint = Checkpoint(models_dir / "untrained" / family)
            loaded[family, dtype] = load_class(CATALOG[family]).load(checkpoint, LoadOptions(dtype=dtype))
        return loaded[family, dtype]

    return load


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, load: Callable[..., VisualModel]) -> VisualModel:
    return load(request.param)


@pytest.fixture(params=["colqwen2.5", "colqwen2"])
def qwen(request: pytest.FixtureRequest, load: Callable[..., VisualModel]) -> VisualModel:
    return load(request.param)


def prepare(model: VisualModel, image: Image.Image) -> Prepared:
    return model.prepare_image(ImageInput(b""), image)


def n_image_tokens(model: VisualModel, prepared: Prepared) -> int:
    return int((prepared.inputs["input_ids"] == model.info.image_token_id).sum())


def assert_same(ours: list[Embedding], others: list[Embedding]) -> None:
    for mine, other in zip(ours, others, strict=True):
        rows, other_rows = vectors(mine), vectors(other)
        assert rows.shape == other_rows.shape
        assert (rows * other_rows).sum(-1).min() >= MIN_COSINE


def vectors(embedding: Embedding) -> np.ndarray:
    assert embedding.multi_vector is not None
    return embedding.multi_vector.vectors


class TestBatches:
    """An input has the same rows alone, among others, and in any order; padding is never among them."""

    def test_sixteen_pages_of_mixed_sizes(self, model: VisualModel) -> None:
        items = [prepare(model, page(width, height)) for width, height in MIXED_SIZES]
        alone = [model.encode([item])[0] for item in items]
        order = np.random.default_rng(1).permutation(len(items))
        shuffled = model.encode([items[i] for i in order])
        assert_same(model.encode(items), alone)
        assert_same(shuffled, [alone[i] for i in order])

    def test_texts_of_mixed_lengths(self, model: VisualModel) -> None:
        items = [model.prepare_text(TextInput(text)) for text in TEXTS]
        alone = [model.encode([item])[0] for item in items]
        assert_same(model.encode(items), alone)
        assert_same(model.encode(items[::-1]), alone[::-1])

    def test_pages_differ(self, model: VisualModel) -> None:
        """Else all of the above would hold for a model that ignores its input."""
        pages = model.encode([prepare(model, page(256, 256, seed)) for seed in range(4)])
        for one, other in pairwise(pages):
            assert (vectors(one) * vectors(other)).sum(-1).mean() < 0.98

    def test_no_padding_row(self, model: VisualModel) -> None:
        items = [prepare(model, page(width, height)) for width, height in MIXED_SIZES]
        (n_prompt,) = {item.n_tokens - n_image_tokens(model, item) for item in items}
        for size, embedding in zip(MIXED_SIZES, model.encode(items), strict=True):
            assert len(vectors(embedding)) == model.patch_grid(*size).n_patches + n_prompt == embedding.n_tokens
            np.testing.assert_allclose(np.linalg.norm(vectors(embedding), axis=-1), 1, atol=1e-5)

    def test_pages_and_texts_never_share_a_batch(self, model: VisualModel) -> None:
        assert prepare(model, page(64, 64)).batch_key != model.prepare_text(TextInput("text")).batch_key


class TestPatchGrid:
    def test_grid_has_a_cell_for_every_image_token(self, model: VisualModel) -> None:
        random = np.random.default_rng(0)
        sizes = [tuple(random.integers(20, 1400, 2)) for _ in range(35)]
        sizes += [(1, 1), (2, 3), (27, 29), (55, 57), (1, 200), (200, 1), (14, 14), (28, 28)]
        sizes += [(4000, 20), (20, 4000), (4000, 3000), (4000, 27), (3, 600), (1000, 1000), (2048, 2048)]
        assert len(sizes) == 50
        for width, height in sizes:
            grid = model.patch_grid(int(width), int(height))
            prepared = prepare(model, Image.new("RGB", (int(width), int(height)), "teal"))
            assert n_image_tokens(model, prepared) == grid.n_patches > 0, (width, height)
            assert prepared.inputs["content"].grid == grid

    @pytest.mark.parametrize("size", [(0, 10), (10, 0), (-5, 10), (0, 0)])
    def test_an_image_without_pixels_is_refused(self, model: VisualModel, size: tuple[int, int]) -> None:
        with pytest.raises(BadInputError, match="at least one pixel"):
            model.patch_grid(*size)

    def test_known_grids(self, qwen: VisualModel) -> None:
        assert qwen.patch_grid(1024, 768) == PatchGrid(32, 24)
        assert qwen.patch_grid(768, 1024) == PatchGrid(24, 32)
        assert qwen.patch_grid(512, 512) == PatchGrid(18, 18)

    @pytest.mark.parametrize("size", [(8000, 6000), (5000, 5000), (6000, 2000), (10**9, 10**9)])
    def test_at_most_768_visual_tokens(self, qwen: VisualModel, size: tuple[int, int]) -> None:
        assert 700 <= qwen.patch_grid(*size).n_patches <= 768

    @pytest.mark.parametrize("size", [(4000, 10), (10, 4000), (1, 201), (10**400, 1)])
    def test_a_ribbon_is_refused(self, qwen: VisualModel, size: tuple[int, int]) -> None:
        with pytest.raises(BadInputError, match="at most 200 times"):
            qwen.patch_grid(*size)

    @pytest.mark.parametrize("n_tokens", [8, 20, 100, 767, 768, 10_000])
    def test_a_request_may_lower_the_limit(self, qwen: VisualModel, n_tokens: int) -> None:
        for limits in (ImageLimits(max_visual_tokens=n_tokens), ImageLimits(max_pixels=n_tokens * 28 * 28)):
            for size in [(1024, 768), (768, 1024), (512, 512), (60, 20)]:
                grid = qwen.patch_grid(*size, limits)
                assert grid.n_patches <= min(n_tokens, 768)
                assert grid == qwen.patch_grid(*size) or grid.n_patches > 0.4 * n_tokens
                prepared = qwen.prepare_image(ImageInput(b"", limits=limits), Image.new("RGB", size))
                assert n_image_tokens(qwen, prepared) == grid.n_patches

    @pytest.mark.parametrize("limits", [ImageLimits(max_visual_tokens=1), ImageLimits(max_pixels=100)])
    def test_a_limit_below_the_smallest_image_is_refused(self, qwen: VisualModel, limits: ImageLimits) -> None:
        with pytest.raises(BadInputError, match=r"at least \d+ pixels or \d+ visual tokens"):
            qwen.patch_grid(640, 480, limits)

    @pytest.mark.parametrize(("size", "n_tokens"), [((4000, 30), 10), ((60, 20), 4)])
    def test_a_narrow_image_does_not_exceed_the_limit(
        self, qwen: VisualModel, size: tuple[int, int], n_tokens: int
    ) -> None:
        with pytest.raises(BadInputError, match="raise the limit"):
            qwen.patch_grid(*size, ImageLimits(max_visual_tokens=n_tokens))

    def test_colpali_has_no_limits(self, load: Callable[..., VisualModel]) -> None:
        with pytest.raises(BadInputError, match="one size"):
            load("colpali").patch_grid(640, 480, ImageLimits(max_visual_tokens=100))

    def test_colpali_makes_every_page_the_same_square(self, load: Callable[..., VisualModel]) -> None:
        model = load("colpali")
        assert {model.patch_grid(*size) for size in [(1, 1), (4000, 10), (1024, 768)]} == {PatchGrid(32, 32)}


class TestTexts:
    def test_tokens_are_the_tokenizers_pieces_and_their_rows(self, model: VisualModel) -> None:
        text = "quarterly revenue of Germany"
        query = model.encode([model.prepare_text(TextInput(text))])[0].multi_vector
        document = model.encode([model.prepare_text(TextInput(text, Role.DOCUMENT))])[0].multi_vector
        assert query is not None
        assert document is not None
        assert query.tokens == document.tokens
        assert len(query.tokens) > 4
        assert "".join(query.tokens).replace("Ġ", " ").replace("▁", " ") == text
        assert len(query.vectors) == len(document.vectors) + 10
        assert len(query.vectors) == query.start + len(query.tokens) + 10

    def test_an_empty_query_is_its_augmentation(self, model: VisualModel) -> None:
        embedding = model.encode([model.prepare_text(TextInput(""))])[0]
        assert embedding.multi_vector is not None
        assert embedding.multi_vector.tokens == ()
        assert len(vectors(embedding)) == embedding.multi_vector.start + 10

    def test_an_empty_document_has_nothing_to_embed(self, qwen: VisualModel) -> None:
        with pytest.raises(BadInputError, match="empty"):
            qwen.prepare_text(TextInput("", Role.DOCUMENT))

    def test_a_long_text_loses_its_end_and_says_so(self, model: VisualModel) -> None:
        words = "revenue of the quarter " * 2000
        prepared = model.prepare_text(TextInput(words))
        whole = model.prepare_text(TextInput(words[:400]))
        assert prepared.truncated
        assert not whole.truncated
        assert prepared.n_tokens == model.info.max_tokens
        ids, whole_ids = (item.inputs["input_ids"].tolist() for item in (prepared, whole))
        assert ids[-10:] == whole_ids[-10:]
        assert ids[:50] == whole_ids[:50]

    def test_a_text_of_long_tokens_is_read_to_its_end(
        self, model: VisualModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        item = TextInput("quarterly revenue of Germany " * 100)
        expected = model.prepare_text(item)
        assert len(item.text) > model.info.max_tokens > expected.n_tokens
        monkeypatch.setattr(visual_model, "CHARS_A_TOKEN", 1)
        prepared = model.prepare_text(item)
        assert not prepared.truncated
        assert prepared.inputs["input_ids"].tolist() == expected.inputs["input_ids"].tolist()

    def test_many_threads_may_prepare(self, model: VisualModel) -> None:
        texts = [f"page {number} of the report" for number in range(64)]
        expected = [model.prepare_text(TextInput(text)).inputs["input_ids"].tolist() for text in texts]
        together = threading.Barrier(8)

        def prepare_all(_: int) -> list[list[int]]:
            together.wait()
            return [model.prepare_text(TextInput(text)).inputs["input_ids"].tolist() for text in texts]

        with ThreadPoolExecutor(8) as threads:
            assert all(ids == expected for ids in threads.map(prepare_all, range(8)))

    def test_special_tokens_in_a_text_do_no_harm(self, model: VisualModel) -> None:
        text = "a <image> <|image_pad|> <bos> <|vision_start|> <pad> <loc0001> b"
        embedding = model.encode([model.prepare_text(TextInput(text))])[0]
        assert np.isfinite(vectors(embedding)).all()


class TestInfo:
    def test_info_is_read_from_the_weights(self, model: VisualModel, models_dir: Path) -> None:
        info = model.info
        assert info.dim == 128 == vectors(model.encode([prepare(model, page(64, 64))])[0]).shape[1]
        file = models_dir / "untrained" / model.spec.name / "model.safetensors"
        assert 0.5 * file.stat().st_size < model.memory_bytes <= file.stat().st_size
        assert (info.patch_size, info.attention, info.dtype) == (14, "sdpa", "float32")
        assert info.spatial_merge_size == (None if model.spec.name == "colpali" else 2)

    def test_half_precision_rows_are_unit_vectors_near_the_full_ones(
        self, model: VisualModel, load: Callable[..., VisualModel]
    ) -> None:
        half = load(model.spec.name, "bfloat16")
        assert half.memory_bytes < 0.6 * model.memory_bytes
        item = half.prepare_text(TextInput("quarterly revenue"))
        rows, full = vectors(half.encode([item])[0]), vectors(model.encode([item])[0])
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-5)
        assert (rows * full).sum(-1).min() > 0.99
