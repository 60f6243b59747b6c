"""Section D and `/interpret`: where a query matches on a page."""

import asyncio
import io
import zipfile
from typing import Any
from unittest import mock

import httpx
import numpy as np
import pytest
from PIL import Image

from app.api.similarity import unique_names
from app.engine.model_runner import ModelRunner
from tests.api.conftest import Serve
from tests.fakes import MAX_WORDS
from tests.pictures import png

# 6 columns and 3 rows of patches; red at column 4, row 1.
PAGE = png(96, 48, "white", {(64, 16, 80, 32): "red"})


async def post(client: httpx.AsyncClient, path: str, query: str, page: bytes = PAGE, **fields: Any) -> httpx.Response:
    form = {"query": query, **fields}
    return await client.post(path, data=form, files={"file": ("page.png", page, "image/png")})


async def test_interpret_gives_a_map_for_each_token_column_first(client: httpx.AsyncClient) -> None:
    answer = (await post(client, "/interpret", "bees red")).json()
    assert answer.keys() == {
        *("query", "tokens", "similarity_maps", "n_patches_x", "n_patches_y", "image_width", "image_height")
    }
    assert (answer["query"], answer["tokens"]) == ("bees red", ["bees", "red"])
    assert (answer["n_patches_x"], answer["n_patches_y"]) == (6, 3)
    assert (answer["image_width"], answer["image_height"]) == (96, 48)
    red = answer["similarity_maps"][1]
    assert (red["token"], red["token_index"]) == ("red", 1)
    similarity_map = np.array(red["similarity_map"])
    assert similarity_map.shape == (6, 3)
    assert np.unravel_index(similarity_map.argmax(), (6, 3)) == (4, 1)
    assert similarity_map.max() == pytest.approx(1)


@pytest.mark.parametrize("path", ["/interpret", "/query/single", "/query/single/heatmap"])
async def test_a_page_that_is_explained_overtakes_an_ingest(client: httpx.AsyncClient, path: str) -> None:
    with mock.patch.object(ModelRunner, "encode", autospec=True, side_effect=ModelRunner.encode) as encode:
        await post(client, path, "red bees")
    assert [call.kwargs["interactive"] for call in encode.call_args_list] == [True]


async def test_query_single_scores_each_token(client: httpx.AsyncClient) -> None:
    answer = (await post(client, "/query/single", "red bees")).json()
    assert answer["token_list"] == ["red", "bees"]
    red, bees = answer["tokens"]["red"], answer["tokens"]["bees"]
    assert (red["token_idx"], bees["token_idx"]) == (0, 1)
    assert red["max_similarity_score"] == pytest.approx(1)
    assert bees["max_similarity_score"] == pytest.approx(0)
    assert red["avg_similarity_score"] == pytest.approx((1 + 17 * 3**-0.5) / 18, abs=1e-3)
    assert answer["overall_similarity"] == pytest.approx(0.5)


async def test_hotspots_are_columns_and_rows_of_the_five_best(client: httpx.AsyncClient) -> None:
    spots = (await post(client, "/query/single", "red")).json()["tokens"]["red"]["hotspots"]
    assert len(spots) == 5
    assert (spots[0]["x"], spots[0]["y"]) == (4, 1)
    assert [spot["score"] for spot in spots] == sorted((spot["score"] for spot in spots), reverse=True)


async def test_all_scores_are_written_as_float32(client: httpx.AsyncClient) -> None:
    tokens = (await post(client, "/query/single", "red blue green")).json()["tokens"]
    for token in tokens.values():
        assert token["hotspots"][0]["score"] == token["max_similarity_score"]
        for spot in token["hotspots"]:
            assert spot["score"] == float(str(np.float32(spot["score"])))


async def test_a_token_that_occurs_again_gets_a_number(client: httpx.AsyncClient) -> None:
    answer = (await post(client, "/query/single", "red bees red red")).json()
    assert answer["token_list"] == ["red", "bees", "red#2", "red#3"]
    assert [answer["tokens"][name]["token_idx"] for name in answer["token_list"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("tokens", "names"),
    [
        ([], []),
        (["a", "a", "a"], ["a", "a#2", "a#3"]),
        (["a", "a#2", "a"], ["a", "a#2", "a#3"]),
        (["a", "a", "a#2", "a#2"], ["a", "a#3", "a#2", "a#2#2"]),
    ],
)
def test_names_are_unique_even_if_tokens_look_like_them(tokens: list[str], names: list[str]) -> None:
    assert unique_names(tokens) == names


@pytest.mark.parametrize("path", ["/interpret", "/query/single", "/query/single/heatmap"])
@pytest.mark.parametrize("query", ["", " ", "\n\t"])
async def test_a_query_without_words_is_refused(client: httpx.AsyncClient, path: str, query: str) -> None:
    answer = await post(client, path, query)
    assert answer.status_code == 400
    assert "query" in answer.json()["detail"]
    # Real tokenizers find tokens in white space: no model is asked.
    assert set((await client.get("/health")).json()["models"].values()) == {"unloaded"}


async def test_a_query_of_too_many_tokens_is_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.match.MAX_QUERY_TOKENS", 2)
    assert (await post(client, "/query/single", "red bees")).status_code == 200
    assert (await post(client, "/query/single", "red bees green")).status_code == 413


@pytest.mark.parametrize("path", ["/interpret", "/query/single", "/query/single/heatmap"])
async def test_file_and_query_are_needed(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, data={"query": "red"})).status_code == 422
    assert (await client.post(path, files={"file": PAGE})).status_code == 422
    answer = await client.post(path, data={"query": "red", "file": "text"})
    assert answer.json()["detail"] == "file: Send a file here: multipart/form-data with a filename."


async def test_one_token_is_a_png_of_the_pages_size(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/query/single/heatmap", "red bees", token_idx=0)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (96, 48)


async def test_all_tokens_are_a_zip_in_their_order(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/query/single/heatmap", "red bees")
    assert answer.headers["content-type"] == "application/zip"
    assert 'filename="heatmaps.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["heatmap_0.png", "heatmap_1.png"]
        for index, name in enumerate(archive.namelist()):
            one = await post(client, "/query/single/heatmap", "red bees", token_idx=index)
            assert archive.read(name) == one.content


@pytest.mark.parametrize("token_idx", [-1, 2, 10**30])
async def test_a_token_that_is_not_there_is_refused(client: httpx.AsyncClient, token_idx: int) -> None:
    answer = await post(client, "/query/single/heatmap", "red bees", token_idx=token_idx)
    assert answer.status_code == 400
    assert "between 0 and 1" in answer.json()["detail"]


async def test_an_empty_token_idx_of_a_web_form_means_all(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/query/single/heatmap", "red", token_idx="")
    assert answer.headers["content-type"] == "application/zip"


async def test_more_pixels_than_can_be_drawn_are_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.similarity.MAX_HEATMAP_PIXELS", 96 * 48 * 2)
    assert (await post(client, "/query/single/heatmap", "red bees")).status_code == 200
    answer = await post(client, "/query/single/heatmap", "red bees green")
    assert answer.status_code == 413
    assert "token_idx" in answer.json()["detail"]


async def test_heatmaps_at_the_same_time_do_not_mix(client: httpx.AsyncClient) -> None:
    requests = [
        (f"{color} {word}", png(width, 200, "white", {(0, 0, 64, 64): color}))
        for color, word, width in [("red", "bees", 300), ("green", "honey", 340), ("blue", "mountain", 380)]
    ]
    alone = [(await post(client, "/query/single/heatmap", *request, token_idx=0)).content for request in requests]
    assert len(set(alone)) == 3
    together = await asyncio.gather(
        *(post(client, "/query/single/heatmap", *request, token_idx=0) for request in requests * 4)
    )
    assert [answer.content for answer in together] == alone * 4


async def test_a_truncated_query_is_said(client: httpx.AsyncClient) -> None:
    answer = await post(client, "/query/single", "word " * (MAX_WORDS + 1))
    assert answer.headers["x-truncated"] == "query"


async def test_colpali_serves_unless_another_model_is_named(serving: Serve) -> None:
    async with serving() as client:
        assert (await post(client, "/query/single", "red")).status_code == 200
        assert (await post(client, "/interpret", "red")).status_code == 200
        states = (await client.get("/health")).json()["models"]
    assert {name for name, state in states.items() if state == "ready"} == {"colpali-v1.3", "colqwen2.5-v0.2"}
