"""What requests may ask of vectors: how many numbers, rows and pixels, and what happens to long texts."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.fakes import DIM, MAX_WORDS, word_vector
from tests.pictures import b64, png

LONG = "word " * (MAX_WORDS + 1)
PAGE = png(80, 48, "white", {(0, 0, 80, 16): "red", (0, 16, 16, 48): "blue"})
"""Five columns and three rows of patches; the first row is red, the rest of the first column blue."""


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def embed_page(client: httpx.AsyncClient, page: bytes = PAGE, **options: Any) -> dict[str, Any]:
    answer = await client.post("/embed/images", files={"files": ("page.png", page)}, params=options)
    assert answer.status_code == 200, answer.text
    (embedding,) = answer.json()["embeddings"]
    return embedding


class TestDimensions:
    async def test_vectors_are_cut_and_scaled_to_unit_length(self, client: httpx.AsyncClient) -> None:
        whole = np.array((await post(client, "/vectorize", {"text": "tall"}))["vector"])
        cut = (await post(client, "/vectorize", {"text": "tall", "dimensions": 6}))["vector"]
        np.testing.assert_allclose(cut, unit(whole[:6]), atol=1e-6)

    async def test_rows_of_multi_vectors_are_cut_each(self, client: httpx.AsyncClient) -> None:
        body = {"queries": "red square", "dimensions": 5}
        (rows,) = (await post(client, "/embed/queries", body))["embeddings"]
        np.testing.assert_allclose(rows[1], unit(word_vector("red")[:5]), atol=1e-6)

    @pytest.mark.parametrize("absent", [0, None, DIM])
    async def test_absent_ones_change_nothing(self, client: httpx.AsyncClient, absent: int | None) -> None:
        whole = (await post(client, "/vectorize", {"text": "tall"}))["vector"]
        same = await post(client, "/vectorize", {"text": "tall", "dimensions": absent})
        assert same["vector"] == pytest.approx(whole)

    @pytest.mark.parametrize("dimensions", [DIM + 1, -1, 2**40])
    async def test_more_than_there_are_is_refused(self, client: httpx.AsyncClient, dimensions: int) -> None:
        for path, body in {
            "/vectorize": {"text": "a"},
            "/vectorize-batch-hybrid": {"items": ["a"], "return_colbert": True},
            "/embed/queries": {"queries": "a"},
            "/predict": {"image_data": b64(PAGE)},
        }.items():
            answer = await client.post(path, json=body | {"dimensions": dimensions})
            assert answer.status_code == 400
            assert "`dimensions`" in answer.json()["detail"]

    async def test_scores_are_those_of_the_rows_that_are_returned(self, client: httpx.AsyncClient) -> None:
        body = {"image": [b64(PAGE)], "text": ["red word", "blue"], "dimensions": 8, "pooling": "rows"}
        answer = await post(client, "/predict", body)
        (page,) = answer["image"]
        assert len(page) == 1 + 3 + 1
        assert [len(rows) for rows in answer["text"]] == [4, 3]
        for i, text in enumerate(answer["text"]):
            expected = (np.array(text) @ np.array(page).T).max(axis=1).sum()
            assert answer["scores"][i][0] == pytest.approx(expected, abs=1e-5)
        assert np.shape(page) == (5, 8)


class TestNormalize:
    async def test_vectors_that_were_cut_may_stay_as_they_are(self, client: httpx.AsyncClient) -> None:
        whole = (await post(client, "/vectorize", {"text": "tall"}))["vector"]
        cut = await post(client, "/vectorize", {"text": "tall", "dimensions": 6, "normalize": False})
        assert cut["vector"] == whole[:6]

    async def test_means_may_stay_as_they_are(self, client: httpx.AsyncClient) -> None:
        means = await embed_page(client, pooling="rows", normalize=False)
        expected = (word_vector("blue") + 4 * word_vector("white")) / 5
        np.testing.assert_allclose(means["embedding"][2], expected, atol=1e-6)

    async def test_vectors_are_at_unit_length_if_wanted(self, client: httpx.AsyncClient) -> None:
        body = {"image_data": b64(PAGE), "embedding_types": ["cls_token", "patch_features"], "normalize": True}
        features = await post(client, "/predict", body)
        for vectors in features.values():
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)


class TestPooling:
    async def test_rows_of_a_page(self, client: httpx.AsyncClient) -> None:
        page = await embed_page(client, pooling="rows")
        assert (page["n_patches_x"], page["n_patches_y"], page["image_patch_len"]) == (1, 3, 3)
        assert page["image_patch_indices"] == [1, 2, 3]
        mixed = unit(word_vector("blue") + 4 * word_vector("white"))
        np.testing.assert_allclose(page["embedding"][1:4], [word_vector("red"), mixed, mixed], atol=1e-6)

    async def test_columns_of_a_page(self, client: httpx.AsyncClient) -> None:
        page = await embed_page(client, pooling="columns")
        assert (page["n_patches_x"], page["n_patches_y"], page["image_patch_len"]) == (5, 1, 5)
        first = unit(word_vector("red") + 2 * word_vector("blue"))
        others = unit(word_vector("red") + 2 * word_vector("white"))
        np.testing.assert_allclose(page["embedding"][1:6], [first, *[others] * 4], atol=1e-6)

    async def test_blocks_of_a_page(self, client: httpx.AsyncClient) -> None:
        page = await embed_page(client, pooling="grid", pool_factor=2)
        assert (page["n_patches_x"], page["n_patches_y"], page["image_patch_len"]) == (3, 2, 6)
        assert len(page["embedding"]) == 1 + 6 + 1
        last = page["embedding"][page["image_patch_indices"][-1]]
        np.testing.assert_allclose(last, word_vector("white"), atol=1e-6)

    async def test_what_is_no_patch_stays(self, client: httpx.AsyncClient) -> None:
        whole = (await embed_page(client))["embedding"]
        for pooling in ("rows", "columns", "grid"):
            means = (await embed_page(client, pooling=pooling))["embedding"]
            np.testing.assert_allclose([means[0], means[-1]], [whole[0], whole[-1]], atol=1e-6)

    async def test_clusters_of_a_page_are_no_patches(self, client: httpx.AsyncClient) -> None:
        page = await embed_page(client, pooling="hierarchical", pool_factor=4)
        assert len(page["embedding"]) == (15 + 2) // 4
        np.testing.assert_allclose(np.linalg.norm(page["embedding"], axis=1), 1, atol=1e-6)
        assert page["image_patch_len"] == page["n_patches_x"] == page["n_patches_y"] == 0
        assert page["image_patch_indices"] == []

    async def test_clusters_of_texts(self, client: httpx.AsyncClient) -> None:
        body = {"pooling": "hierarchical", "pool_factor": 3}
        (rows,) = (await post(client, "/embed/queries", {"queries": "a b c d", **body}))["embeddings"]
        assert len(rows) == (4 + 2) // 3
        hybrid = {"text": "a b c d e", "return_colbert": True, **body}
        assert len((await post(client, "/vectorize-hybrid", hybrid))["hybrid_vector"]["colbert"]) == (5 + 1) // 3

    async def test_patch_features(self, client: httpx.AsyncClient) -> None:
        body = {"image_data": b64(PAGE), "embedding_types": ["patch_features"]}
        assert len((await post(client, "/predict", body | {"pooling": "columns"}))["patch_features"]) == 5
        clusters = body | {"pooling": "hierarchical", "pool_factor": 5}
        assert len((await post(client, "/predict", clusters))["patch_features"]) == 3

    @pytest.mark.parametrize("options", [{"pooling": "rows"}, {"pooling": "max"}, {"pool_factor": 0}])
    async def test_what_texts_have_not_is_refused(self, client: httpx.AsyncClient, options: dict[str, Any]) -> None:
        answer = await client.post("/embed/queries", json={"queries": "a"} | options)
        assert answer.status_code == 422
        assert next(iter(options)) in answer.json()["detail"]


class TestTruncate:
    @pytest.mark.parametrize(
        ("path", "body", "named"),
        [
            ("/vectorize", {"text": LONG}, "text"),
            ("/vectorize-batch", {"items": ["a", LONG]}, "items[1]"),
            ("/vectorize-batch", {"items": {"secret": LONG}}, "items[0]"),
            ("/vectorize-hybrid", {"text": LONG}, "text"),
            ("/vectorize-batch-hybrid", {"items": ["a", LONG]}, "items[1]"),
            ("/embed/queries", {"queries": ["a", "b", LONG]}, "queries[2]"),
            ("/rerank", {"query": LONG, "candidates": ["a"]}, "query"),
            ("/rerank", {"query": "a", "candidates": ["a", LONG]}, "candidates[1]"),
            ("/predict", {"image": b64(PAGE), "text": ["a", LONG]}, "text[1]"),
            ("/predict", {"inputs": {"queries": [LONG]}}, "queries[0]"),
        ],
    )
    async def test_long_texts_are_refused_and_named(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any], named: str
    ) -> None:
        assert (await client.post(path, json=body | {"truncate": True})).headers["x-truncated"]
        answer = await client.post(path, json=body | {"truncate": False})
        assert answer.status_code == 400
        (message,) = answer.json().values()
        assert message.startswith(f"{named} is longer than the {MAX_WORDS + 2} tokens")

    async def test_short_texts_are_not(self, client: httpx.AsyncClient) -> None:
        await post(client, "/vectorize", {"text": "short", "truncate": False})


class TestLimits:
    @pytest.mark.parametrize("options", [{"max_visual_tokens": 7}, {"max_pixels": 7 * 16 * 16 + 1}])
    async def test_images_are_read_less_finely(self, client: httpx.AsyncClient, options: dict[str, int]) -> None:
        page = await embed_page(client, **options)
        assert (page["n_patches_x"], page["n_patches_y"]) == (2, 3)
        size = {"dimensions": [{"width": 80, "height": 48}]}
        (count,) = (await post(client, "/patches", size | options))["results"]
        assert (count["n_patches_x"], count["n_patches_y"]) == (2, 3)
        features = {"image_data": b64(PAGE), "embedding_types": ["patch_features"]}
        assert len((await post(client, "/predict", features | options))["patch_features"]) == 6
        (rows,) = (await post(client, "/predict", {"image": b64(PAGE)} | options))["image"]
        assert len(rows) == 6 + 2
        for path in ("/interpret", "/query/single", "/query/single/heatmap"):
            files, form = {"file": ("a.png", PAGE)}, {"query": "red"}
            answer = await client.post(path, files=files, data=form, params=options)
            assert answer.headers["x-usage-tokens"] == str(6 + 2 + 3)

    @pytest.mark.parametrize("absent", [0, 10**6])
    async def test_a_limit_that_is_absent_or_high_changes_nothing(self, client: httpx.AsyncClient, absent: int) -> None:
        assert (await embed_page(client, max_visual_tokens=absent))["image_patch_len"] == 15

    async def test_one_that_the_model_cannot_keep_is_refused(self, client: httpx.AsyncClient) -> None:
        for limit in (1, -1):
            answer = await client.post("/embed/images", files={"files": PAGE}, params={"max_visual_tokens": limit})
            assert answer.status_code == 400

    async def test_a_fixed_size_has_no_limit(self, client: httpx.AsyncClient) -> None:
        body = {"image_data": b64(PAGE), "image_size": 64, "max_pixels": 100}
        answer = await client.post("/predict", json=body)
        assert answer.status_code == 400
        assert "`image_size`" in answer.json()["detail"]


class TestForms:
    async def test_options_may_be_fields_of_the_form(self, client: httpx.AsyncClient) -> None:
        files = {"files": ("page.png", PAGE)}
        form = {"pooling": "rows", "dimensions": "4", "encoding_format": "base64", "dtype": "", "batch_size": "2"}
        answer = await client.post("/embed/images", files=files, data=form)
        assert answer.json()["embeddings"][0]["embedding"]["shape"] == [5, 4]

    async def test_the_query_parameter_wins(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(
            "/embed/images",
            files={"files": PAGE},
            data={"dimensions": "4", "pooling": "rows"},
            params={"dimensions": 6},
        )
        assert np.shape(answer.json()["embeddings"][0]["embedding"]) == (5, 6)

    @pytest.mark.parametrize("where", ["data", "params"])
    async def test_bad_values_are_named(self, client: httpx.AsyncClient, where: str) -> None:
        options = {"dtype": "secret", "pool_factor": "many"}
        answer = await client.post("/embed/images", files={"files": PAGE}, **{where: options})
        assert answer.status_code == 422
        assert "dtype: " in answer.json()["detail"]
        assert "pool_factor: " in answer.json()["detail"]
        assert "secret" not in answer.text


class TestUsage:
    @pytest.mark.parametrize(
        ("path", "body", "n_tokens"),
        [
            ("/vectorize", {"text": "a b"}, 4),
            ("/vectorize-batch", {"items": ["a", "a b"]}, 7),
            ("/vectorize-batch", {"items": []}, 0),
            ("/vectorize-hybrid", {"text": "a b"}, 4),
            ("/embed/queries", {"queries": ["a", LONG]}, 3 + MAX_WORDS + 2),
            ("/rerank", {"query": "a", "candidates": ["a", "b c"]}, 10),
            ("/predict", {"image": b64(PAGE), "text": "red"}, 17 + 3),
            ("/predict", {"image_data": [b64(PAGE), b64(PAGE)]}, 34),
        ],
    )
    async def test_counts_the_tokens_that_were_read(
        self, client: httpx.AsyncClient, path: str, body: dict[str, Any], n_tokens: int
    ) -> None:
        assert (await client.post(path, json=body)).headers["x-usage-tokens"] == str(n_tokens)

    async def test_pooling_and_formats_do_not_change_it(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(
            "/embed/images",
            files={"files": PAGE},
            params={"pooling": "rows"},
            headers={"Accept": "application/x-safetensors"},
        )
        assert answer.headers["x-usage-tokens"] == "17"
