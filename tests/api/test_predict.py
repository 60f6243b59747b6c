"""Sections C and E, which share `POST /predict`."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.api.conftest import Serve
from tests.fakes import DIM, MAX_WORDS, word_vector
from tests.pictures import b64, png

RED, BLUE = b64(png(32, 16, "red")), b64(png(48, 16, "blue"))


@pytest.mark.parametrize("path", ["/", "/predict"])
@pytest.mark.parametrize("nested", [False, True])
async def test_images_and_texts_get_rows_and_scores(client: httpx.AsyncClient, path: str, nested: bool) -> None:
    content = {"image": [RED, f"data:image/png;base64,{BLUE}"], "text": ["red", "blue bees"], "batch_size": 4}
    answer = await client.post(path, json={"inputs": content} if nested else {"inputs": [], **content})
    result = answer.json()
    assert list(result) == ["image", "text", "scores"]
    assert [len(rows) for rows in result["image"]] == [2 + 2, 3 + 2]
    assert [len(rows) for rows in result["text"]] == [1 + 2, 2 + 2]
    for i, text in enumerate(result["text"]):
        for j, image in enumerate(result["image"]):
            expected = (np.array(text) @ np.array(image).T).max(axis=1).sum()
            assert result["scores"][i][j] == pytest.approx(expected, abs=1e-5)


async def test_one_kind_alone_has_no_scores(client: httpx.AsyncClient) -> None:
    images = (await client.post("/", json={"image": RED})).json()
    assert (len(images["image"]), images["text"], images["scores"]) == (1, [], [])
    texts = (await client.post("/", json={"inputs": {"text": "red"}})).json()
    assert (texts["image"], len(texts["text"]), texts["scores"]) == ([], 1, [])


async def test_embeddings_of_one_kind(client: httpx.AsyncClient) -> None:
    queries = (await client.post("/", json={"inputs": {"queries": ["red", "blue"]}})).json()
    assert np.array(queries["embeddings"]).shape == (2, 3, DIM)
    images = (await client.post("/predict", json={"inputs": {"images": [RED]}})).json()
    np.testing.assert_array_equal(np.float32(images["embeddings"][0])[1], word_vector("red"))


async def test_the_model_may_stand_inside_inputs(serving: Serve) -> None:
    async with serving() as client:
        inside = {"inputs": {"text": ["red"], "model": "colpali-v1.3", "batch_size": 4}}
        assert (await client.post("/", json=inside)).status_code == 200
        assert (await client.post("/", json={**inside, "model": "colqwen2.5-v0.2"})).status_code == 200
        states = (await client.get("/health")).json()["models"]
    assert {name for name, state in states.items() if state == "ready"} == {"colpali-v1.3", "colqwen2.5-v0.2"}


async def test_every_option_may_stand_inside_inputs(client: httpx.AsyncClient) -> None:
    options = {"dtype": "float16", "pooling": "rows", "dimensions": 4, "encoding_format": "base64"}
    content = {"image": [RED], "text": ["red"], **options}
    inside = await client.post("/", json={"inputs": content})
    assert inside.json() == (await client.post("/", json=content)).json()
    assert inside.json()["image"][0]["dtype"] == "float16"
    cut = {"inputs": {"text": ["word " * (MAX_WORDS + 1)], "truncate": False}}
    assert (await client.post("/", json=cut)).json()["error"].startswith("text[0] is longer")
    over = {"inputs": {"text": ["red"], "dtype": "int8"}, "dtype": "float32"}
    assert isinstance((await client.post("/", json=over)).json()["text"][0], list)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"inputs": {"images": [RED, "AAAA"], "queries": []}, "image": [], "text": []}, "images[1]"),
        ({"image": [RED], "inputs": {"queries": ["red"]}}, "`images` or `queries` alone"),
        ({"text": ["red"], "inputs": {"images": [RED]}}, "`images` or `queries` alone"),
        ({"text": ["red"], "dimensions": DIM + 1}, f"between 1 and {DIM}"),
    ],
)
async def test_what_is_wrong_is_named(client: httpx.AsyncClient, body: Any, name: str) -> None:
    answer = await client.post("/", json=body)
    assert answer.status_code == 400
    assert name in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"inputs": []}, 400),
        ({"inputs": {}}, 400),
        ({"inputs": {"images": [RED], "queries": ["red"]}}, 400),
        ({"inputs": {"images": []}}, 400),
        ({"inputs": {"queries": []}}, 400),
        ({"inputs": {"queries": ["red"], "model": "no-such"}}, 404),
        ({"inputs": {"text": ["red"], "model": "no-such"}}, 404),
        ({"inputs": {"text": ["red"], "batch_size": 0}}, 422),
        ({"image": ["%%%"]}, 400),
        ({"image": [RED, "AAAA"]}, 400),
        ({"image": ["http://example.com/a.png"]}, 400),
        ({"image": [5]}, 422),
        ({"inputs": "text"}, 422),
        ({"inputs": ["text"]}, 422),
        ({"text": ["red"], "model": "no-such"}, 404),
        ({"text": ["red"], "model": "bge-m3"}, 400),
        ([], 422),
        (5, 422),
    ],
)
@pytest.mark.parametrize("path", ["/", "/predict"])
async def test_errors_of_the_endpoint_come_as_error(
    client: httpx.AsyncClient, path: str, body: Any, status: int
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


async def test_errors_before_the_body_is_understood_come_under_both_names(client: httpx.AsyncClient) -> None:
    answer = await client.post("/predict", content="{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json().keys() == {"error", "detail"}


async def test_the_broken_image_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/", json={"image": [RED, "AAAA"]})
    assert "image[1]" in answer.json()["error"]


async def test_features_of_an_image_in_the_order_asked(client: httpx.AsyncClient) -> None:
    cls = (await client.post("/predict", json={"image_data": RED, "embedding_types": ["cls_token"]})).json()
    assert list(cls) == ["cls_token"]
    assert np.shape(cls["cls_token"]) == (DIM,)
    types = ["patch_features", "cls_token"]
    both = (await client.post("/predict", json={"image_data": RED, "embedding_types": types})).json()
    assert list(both) == types
    assert both["cls_token"] == cls["cls_token"]
    np.testing.assert_array_equal(np.float32(both["patch_features"]), [word_vector("red")] * 2)


async def test_the_cls_token_is_the_default_and_a_bare_type_will_do(client: httpx.AsyncClient) -> None:
    default = (await client.post("/predict", json={"image_data": RED})).json()
    assert default == (await client.post("/predict", json={"image_data": RED, "embedding_types": "cls_token"})).json()


async def test_a_list_of_images_gives_a_list(client: httpx.AsyncClient) -> None:
    body = {"image_data": [RED, BLUE], "embedding_types": "patch_features"}
    features = (await client.post("/predict", json=body)).json()
    assert [len(one["patch_features"]) for one in features] == [2, 3]
    assert (await client.post("/predict", json={"image_data": []})).json() == []


async def test_image_size_asks_for_a_square(client: httpx.AsyncClient) -> None:
    body = {"image_data": RED, "embedding_types": "patch_features", "image_size": 64}
    assert len((await client.post("/predict", json=body)).json()["patch_features"]) == 16


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"image_data": "%%%"}, 400),
        ({"image_data": ""}, 400),
        ({"image_data": "AAAA"}, 400),
        ({"image_data": RED, "embedding_types": ["pooled"]}, 400),
        ({"image_data": RED, "embedding_types": []}, 400),
        ({"image_data": RED, "image_size": 0}, 422),
        ({"image_data": None}, 422),
        ({"image_data": [None]}, 422),
        ({"embedding_types": ["cls_token"]}, 422),
        ({"image_data": RED, "model": "no-such"}, 404),
        ({"image_data": RED, "model": "bge-m3"}, 400),
    ],
)
async def test_errors_of_image_features_come_as_detail(
    client: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    answer = await client.post("/predict", json=body)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]


async def test_each_kind_of_request_has_its_own_default_model(serving: Serve) -> None:
    async with serving() as client:
        await client.post("/", json={"text": "red"})
        await client.post("/predict", json={"image_data": RED})
        states = (await client.get("/health")).json()["models"]
    assert {name for name, state in states.items() if state == "ready"} == {"colqwen2-v1.0", "dinov3-vitb16"}


async def test_truncated_texts_are_listed(client: httpx.AsyncClient) -> None:
    answer = await client.post("/", json={"image": RED, "text": ["red", "word " * (MAX_WORDS + 1)]})
    assert answer.headers["x-truncated"] == "1"
