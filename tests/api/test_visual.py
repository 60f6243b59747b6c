"""Section A: what clients of the visual-document service send and get."""

import httpx
import numpy as np
import pytest

from tests.fakes import DIM, MAX_WORDS, word_vector
from tests.pictures import png


async def test_patches_of_sizes(client: httpx.AsyncClient) -> None:
    sizes = [{"width": 64, "height": 48}, {"width": 1, "height": 4000}, {"width": 0, "height": 5}]
    answer = await client.post("/patches", json={"dimensions": sizes})
    good, narrow, empty = answer.json()["results"]
    assert good == {"width": 64, "height": 48, "n_patches_x": 4, "n_patches_y": 3}
    assert narrow == {"width": 1, "height": 4000, "error": "The image is too narrow."}
    assert empty.keys() == {"width", "height", "error"}


@pytest.mark.parametrize(
    ("size", "width", "height"),
    [
        ({"width": None, "height": 48}, None, 48),
        ({"width": 64}, 64, None),
        ({}, None, None),
        ({"width": 64.5, "height": 48}, 64.5, 48),
        ({"width": 64, "height": 1e30}, 64, 1e30),
        ({"width": 10**12, "height": -(2**63)}, 10**12, -(2**63)),
        ({"width": 64, "height": 2**64}, 64, 2**64),
        ({"width": "64", "height": True}, None, None),
        ({"width": [64], "height": {"s3cret": 1}}, None, None),
    ],
)
async def test_a_size_that_is_none_is_an_error_of_its_own(
    client: httpx.AsyncClient, size: dict[str, object], width: float | None, height: float | None
) -> None:
    good = {"width": 64, "height": 48}
    answer = await client.post("/patches", json={"dimensions": [good, size, good]})
    before, bad, after = answer.json()["results"]
    assert before == after == {**good, "n_patches_x": 4, "n_patches_y": 3}
    error = "Width and height are whole numbers of pixels between 1 and 1000000."
    assert bad == {"width": width, "height": height, "error": error}


async def test_whole_numbers_may_be_written_as_floats(client: httpx.AsyncClient) -> None:
    answer = await client.post("/patches", json={"dimensions": [{"width": 64.0, "height": 48}]})
    assert answer.json()["results"] == [{"width": 64, "height": 48, "n_patches_x": 4, "n_patches_y": 3}]


async def test_patches_agree_with_embedded_images(client: httpx.AsyncClient) -> None:
    sizes = [(64, 48), (33, 200), (500, 17)]
    dimensions = [{"width": width, "height": height} for width, height in sizes]
    grids = (await client.post("/patches", json={"dimensions": dimensions})).json()["results"]
    files = [("files", ("page.png", png(*size), "image/png")) for size in sizes]
    embeddings = (await client.post("/embed/images", files=files)).json()["embeddings"]
    for grid, embedding in zip(grids, embeddings, strict=True):
        assert embedding["n_patches_x"] == grid["n_patches_x"]
        assert embedding["n_patches_y"] == grid["n_patches_y"]
        assert embedding["image_patch_len"] == grid["n_patches_x"] * grid["n_patches_y"]


@pytest.mark.parametrize(("queries", "n_rows"), [("red square", [4]), (["red", "a b c"], [3, 5])])
async def test_queries_are_a_text_or_a_list(client: httpx.AsyncClient, queries: object, n_rows: list[int]) -> None:
    answer = await client.post("/embed/queries", json={"queries": queries})
    embeddings = answer.json()["embeddings"]
    assert [len(rows) for rows in embeddings] == n_rows
    np.testing.assert_array_equal(np.float32(embeddings[0][1]), word_vector("red"))


async def test_vectors_keep_every_bit_of_their_float32(client: httpx.AsyncClient) -> None:
    words = [f"word{i}" for i in range(20)]
    rows = (await client.post("/embed/queries", json={"queries": " ".join(words)})).json()["embeddings"][0]
    np.testing.assert_array_equal(np.array(rows, np.float32)[1:-1], [word_vector(word) for word in words])


async def test_no_queries_are_refused_and_an_empty_one_is_embedded(client: httpx.AsyncClient) -> None:
    assert (await client.post("/embed/queries", json={"queries": []})).status_code == 400
    empty = await client.post("/embed/queries", json={"queries": ""})
    assert np.shape(empty.json()["embeddings"]) == (1, 2, DIM)


async def test_truncated_queries_are_listed(client: httpx.AsyncClient) -> None:
    long = "word " * (MAX_WORDS + 1)
    answer = await client.post("/embed/queries", json={"queries": [long, "short", long]})
    assert answer.headers["x-truncated"] == "0,2"
    assert "x-truncated" not in (await client.post("/embed/queries", json={"queries": "short"})).headers


async def test_images_say_which_rows_are_patches(client: httpx.AsyncClient) -> None:
    page = png(32, 16, "red", {(16, 0, 32, 16): "blue"})
    answer = await client.post("/embed/images", files=[("files", ("page.png", page, "image/png"))])
    (embedding,) = answer.json()["embeddings"]
    assert embedding["image_patch_indices"] == [1, 2]
    assert (embedding["image_patch_start"], embedding["image_patch_len"]) == (1, 2)
    rows = np.float32(embedding["embedding"])
    np.testing.assert_array_equal(rows[embedding["image_patch_indices"]], [word_vector("red"), word_vector("blue")])


@pytest.mark.parametrize(
    ("filename", "named"),
    [
        ("scan 1.png", "File 2 (scan 1.png)"),
        ("<b>.png", "File 2 "),
        ("../../etc/passwd", "File 2 "),
        ("\x01", "File 2 "),
    ],
)
async def test_a_broken_file_is_named_but_odd_filenames_are_not_echoed(
    client: httpx.AsyncClient, filename: str, named: str
) -> None:
    files = [("files", ("a.png", png(), "image/png")), ("files", (filename, b"no image", "image/png"))]
    answer = await client.post("/embed/images", files=files)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(named)


async def test_model_is_a_query_parameter_or_a_form_field_of_multipart_routes(client: httpx.AsyncClient) -> None:
    file = {"files": ("page.png", png(), "image/png")}
    for sent in ({"params": {"model": "bge-m3"}}, {"data": {"model": "bge-m3"}}):
        answer = await client.post("/embed/images", files=file, **sent)
        assert answer.status_code == 400
        assert "colqwen2.5-v0.2" in answer.json()["detail"]
    assert (await client.post("/embed/images", files=file, data={"model": ""})).status_code == 200


async def test_another_model_by_name_or_by_checkpoint(client: httpx.AsyncClient) -> None:
    for model in ("colpali-v1.3", "vidore/ColPali-v1.3"):
        assert (await client.post("/embed/queries", json={"queries": "red", "model": model})).status_code == 200
    states = (await client.get("/health")).json()["models"]
    assert [name for name, state in states.items() if state == "ready"] == ["colpali-v1.3"]
