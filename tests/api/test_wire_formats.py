"""Every format that embeddings come in, read back as the example client in examples/vectors.py reads it."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest

from app.core.quantization import DType
from examples.vectors import dequantized, read_json_vectors, read_npz, read_safetensors, signs
from tests.fakes import DIM
from tests.pictures import b64, png

PAGE = png(48, 32, "red", {(16, 0, 32, 16): "blue"})
SAFETENSORS, NPZ = "application/x-safetensors", "application/x-npz"
READERS = {SAFETENSORS: read_safetensors, NPZ: read_npz}

JSON_REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "vectorize": ("/vectorize", {"text": "tall mountain"}),
    "batch": ("/vectorize-batch", {"items": ["tall", "red mountain", ""]}),
    "batch by id": ("/vectorize-batch", {"items": {"../a.npy": "tall", "metadata": "red", "": "blue"}}),
    "no texts": ("/vectorize-batch", {"items": []}),
    "hybrid": ("/vectorize-hybrid", {"text": "tall mountain", "return_colbert": True}),
    "hybrid batch": ("/vectorize-batch-hybrid", {"items": ["tall", "a b c"], "return_colbert": True}),
    "hybrid batch by id": ("/vectorize-batch-hybrid", {"items": {"x": "tall", "y.z": "a b c"}}),
    "queries": ("/embed/queries", {"queries": ["red square", "blue"]}),
    "images and texts": ("/predict", {"image": [b64(PAGE), b64(png(32, 16, "blue"))], "text": ["red", "a b"]}),
    "at the root": ("/", {"inputs": {"queries": ["red square"]}}),
    "images alone": ("/", {"inputs": {"images": [b64(PAGE)]}}),
    "features": ("/predict", {"image_data": b64(PAGE), "embedding_types": ["patch_features", "cls_token"]}),
    "features of two": ("/predict", {"image_data": [b64(PAGE), b64(PAGE)], "embedding_types": ["cls_token"]}),
}

Post = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture(params=[*JSON_REQUESTS, "pages"])
def post(request: pytest.FixtureRequest, client: httpx.AsyncClient) -> Post:
    """Sends one of the requests with these options, in the body or as query parameters."""

    async def post(accept: str = "*/*", **options: Any) -> httpx.Response:
        headers = {"Accept": accept}
        if request.param == "pages":
            files = [("files", ("a.png", PAGE)), ("files", ("b.png", png(32, 16, "blue")))]
            answer = await client.post("/embed/images", files=files, params=options, headers=headers)
        else:
            path, body = JSON_REQUESTS[request.param]
            answer = await client.post(path, json=body | options, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer

    return post


def at(content: Any, name: str) -> Any:
    """What stands in a JSON answer where a tensor's name says; ids of the client are counted."""
    for part in name.split("."):
        if isinstance(content, list):
            content = content[int(part)]
        else:
            content = list(content.values())[int(part)] if part.isdecimal() else content[part]
    return content


def matrix(vectors: Any) -> np.ndarray:
    """One vector or several, in whichever way JSON writes them: [n, width]."""
    if isinstance(vectors, list) and isinstance(vectors[0], dict):
        return np.stack([read_json_vectors(vector) for vector in vectors])
    return np.atleast_2d(read_json_vectors(vectors))


async def all_vectors(post: Post, way: str = "float", **options: Any) -> dict[str, np.ndarray]:
    """The vectors of the answer by name, each [n, width], read from that format."""
    accept = way if way in READERS else SAFETENSORS
    arrays, _ = READERS[accept]((await post(accept, **options)).content)
    names = [name for name in arrays if not name.endswith(("scores", "scales", "image_patch_indices"))]
    if way in READERS:
        return {name: np.atleast_2d(from_tensors(arrays, name)) for name in names}
    content = (await post(encoding_format=way, **options)).json()
    return {name: matrix(at(content, name)) for name in names}


def from_tensors(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    scales = arrays.get(f"{name}.scales")
    return arrays[name] if scales is None else dequantized(arrays[name], scales)


async def test_json_is_the_default(post: Post) -> None:
    default = await post()
    assert default.headers["content-type"] == "application/json"
    assert (await post("application/json")).content == default.content
    assert (await post("text/html;q=0.9")).content == default.content


@pytest.mark.parametrize("way", ["base64", *READERS])
async def test_every_format_holds_the_same_numbers_in_the_same_shape(post: Post, way: str) -> None:
    expected, read = await all_vectors(post), await all_vectors(post, way)
    assert read.keys() == expected.keys()
    for name, vectors in read.items():
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, expected[name].astype(np.float32))


@pytest.mark.parametrize("accept", READERS)
async def test_the_answer_can_be_put_together_again(post: Post, accept: str) -> None:
    """`metadata` is the JSON body with names of arrays in the places of arrays, whatever ids the client chose."""
    arrays, rest = READERS[accept]((await post(accept)).content)
    used: set[str] = set()

    def restored(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: restored(value) for key, value in part.items()}
        if isinstance(part, list):
            return [restored(value) for value in part]
        if isinstance(part, str):
            used.add(part)
            return arrays[part].tolist()
        return part

    expected = (await post()).json()
    assert restored(rest) == approximately(expected)
    assert used == arrays.keys()


def approximately(content: Any) -> Any:
    """JSON's numbers are the shortest that name a float32; as float64 they are others."""
    if isinstance(content, dict):
        return {key: approximately(value) for key, value in content.items()}
    if isinstance(content, list):
        return [approximately(value) for value in content]
    return pytest.approx(content, rel=1e-6) if isinstance(content, float) else content


@pytest.mark.parametrize("way", ["float", "base64", *READERS])
@pytest.mark.parametrize("dtype", DType)
async def test_every_dtype_can_be_read(post: Post, dtype: DType, way: str) -> None:
    expected, read = await all_vectors(post), await all_vectors(post, way, dtype=dtype)
    assert read.keys() == expected.keys()
    for name, numbers in expected.items():
        whole = numbers.astype(np.float32)
        if dtype is DType.UBINARY:
            bits = signs(read[name].astype(np.uint8), DIM)
            np.testing.assert_array_equal(bits, np.where(whole > 0, 1, -1))
        else:
            step = np.abs(whole).max(axis=1, keepdims=True) / 127
            tolerance = {DType.FLOAT32: 0, DType.FLOAT16: 2.0**-11, DType.INT8: 0.501 * step}[dtype]
            assert (np.abs(read[name].astype(np.float32) - whole) <= tolerance).all()


async def test_names_are_the_places_in_the_json(client: httpx.AsyncClient) -> None:
    expected = {
        "vectorize": {"vector"},
        "batch": {"vectors"},
        "batch by id": {"vectors.0", "vectors.1", "vectors.2"},
        "no texts": set(),
        "hybrid": {"hybrid_vector.dense", "hybrid_vector.colbert"},
        "hybrid batch by id": {"hybrid_vectors.0.dense", "hybrid_vectors.1.dense"},
        "queries": {"embeddings.0", "embeddings.1"},
        "images and texts": {"image.0", "image.1", "text.0", "text.1", "scores"},
        "features": {"patch_features", "cls_token"},
        "features of two": {"0.cls_token", "1.cls_token"},
    }
    for name, names in expected.items():
        path, body = JSON_REQUESTS[name]
        for accept, read in READERS.items():
            answer = await client.post(path, json=body, headers={"Accept": accept})
            assert read(answer.content)[0].keys() == names
    files = {"files": ("a.png", PAGE)}
    answer = await client.post("/embed/images", files=files, headers={"Accept": SAFETENSORS})
    arrays, rest = read_safetensors(answer.content)
    assert arrays.keys() == {"embeddings.0.embedding", "embeddings.0.image_patch_indices"}
    (page,) = rest["embeddings"]
    assert (page["n_patches_x"], page["n_patches_y"], page["image_patch_len"]) == (3, 2, 6)
    np.testing.assert_array_equal(arrays["embeddings.0.image_patch_indices"], range(1, 7))


async def test_a_batch_of_int8_is_one_matrix_with_a_scale_a_row(client: httpx.AsyncClient) -> None:
    body = {"items": ["tall", "red mountain"], "dtype": "int8"}
    answer = await client.post("/vectorize-batch", json=body, headers={"Accept": NPZ})
    arrays, rest = read_npz(answer.content)
    assert (arrays["vectors"].shape, arrays["vectors.scales"].shape) == ((2, DIM), (2,))
    assert rest == {"vectors": "vectors"}


async def test_sparse_weights_stay_in_the_metadata(client: httpx.AsyncClient) -> None:
    path, body = JSON_REQUESTS["hybrid"]
    answer = await client.post(path, json=body, headers={"Accept": SAFETENSORS})
    _, rest = read_safetensors(answer.content)
    assert rest["hybrid_vector"]["sparse"] == {"tall": 1.0, "mountain": 0.5}


async def test_errors_are_json_whatever_is_accepted(client: httpx.AsyncClient) -> None:
    answer = await client.post("/embed/queries", json={"queries": []}, headers={"Accept": NPZ})
    assert answer.status_code == 400
    assert answer.json()["detail"]
