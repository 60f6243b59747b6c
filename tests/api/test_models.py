"""The list of models, `/info`, loading and unloading."""

import httpx

from app.core.errors import ModelLoadError
from tests.api.conftest import Serve
from tests.fakes import DIM, MAX_WORDS, FakeLoader


async def test_the_list_says_what_each_model_can_do(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/models")).json()
    models = {model["id"]: model for model in answer["data"]}
    assert answer["object"] == "list"
    bge = models["bge-m3"]
    assert bge["object"] == "model"
    assert bge["capabilities"] == ["text:dense", "text:multi_vector", "text:sparse"]
    assert (bge["state"], bge["dimensions"], bge["license"], bge["trained"]) == ("unloaded", None, "MIT", True)


async def test_a_loaded_model_tells_more(client: httpx.AsyncClient) -> None:
    loaded = (await client.post("/models/bge-m3/load")).json()
    assert loaded["state"] == "ready"
    assert (loaded["dimensions"], loaded["context_length"], loaded["device"]) == (DIM, MAX_WORDS + 2, "cpu")
    assert (loaded["dtype"], loaded["memory_bytes"]) == ("float32", 1 << 20)
    listed = {model["id"]: model for model in (await client.get("/v1/models")).json()["data"]}
    assert listed["bge-m3"] == loaded


async def test_unloading_and_loading_again(client: httpx.AsyncClient) -> None:
    await client.post("/models/bge-m3/load")
    assert (await client.post("/models/bge-m3/unload")).json()["state"] == "unloaded"
    assert (await client.post("/vectorize", json={"text": "a", "model": "bge-m3"})).status_code == 200


async def test_an_unknown_model_is_404_and_names_those_that_there_are(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.post("/models/no-such/load"),
        await client.post("/models/no-such/unload"),
        await client.post("/vectorize", json={"text": "a", "model": "no-such"}),
        await client.get("/info", params={"model": "no-such"}),
    ):
        assert answer.status_code == 404
        assert "bge-m3" in answer.json()["detail"]
        assert "no-such" not in answer.text


async def test_a_model_that_cannot_be_loaded_is_503_with_the_reason(serving: Serve) -> None:
    async with serving(FakeLoader(ModelLoadError("This model is gated: accept its licence."))) as client:
        for answer in (
            await client.post("/models/bge-m3/load"),
            await client.post("/vectorize", json={"text": "a", "model": "bge-m3"}),
        ):
            assert answer.status_code == 503
            assert answer.json() == {"detail": "This model is gated: accept its licence."}
            assert int(answer.headers["retry-after"]) > 0
        (bge,) = [model for model in (await client.get("/v1/models")).json()["data"] if model["id"] == "bge-m3"]
    assert (bge["state"], bge["error"]) == ("failed", "This model is gated: accept its licence.")


async def test_info_is_about_the_default_visual_model(client: httpx.AsyncClient) -> None:
    info = (await client.get("/info")).json()
    assert info["model_id"] == "vidore/colqwen2.5-v0.2"
    assert (info["dim"], info["device"], info["dtype"], info["flash_attn"]) == (DIM, "cpu", "float32", False)
    assert (info["spatial_merge_size"], info["image_token_id"], info["trained"]) == (1, 7, True)
    assert info["version"]


async def test_info_about_another_model(client: httpx.AsyncClient) -> None:
    assert (await client.get("/info", params={"model": "bge-m3"})).json()["family"] == "bge-m3"
