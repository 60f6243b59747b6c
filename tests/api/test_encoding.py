"""Arrays on the wire."""

import base64
import json

import numpy as np
import pytest

from app.api.encoding import encoded, json_response, required, respond, to_json
from app.api.negotiation import MediaType
from app.api.report import MAX_LISTED, report, truncation_headers
from app.api.schemas.options import EncodingFormat
from app.core.quantization import DType, StoredVectors, stored
from app.core.types import Embedding

MATRIX = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)


def test_arrays_become_nested_lists_whatever_their_layout() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = {"a": array, "t": array.T, "slice": array[:, 1:], "i": np.arange(2), "empty": array[:0], "s": array[0, 1]}
    assert json.loads(to_json(content)) == {
        "a": [[0, 1, 2], [3, 4, 5]],
        "t": [[0, 3], [1, 4], [2, 5]],
        "slice": [[1, 2], [4, 5]],
        "i": [0, 1],
        "empty": [],
        "s": 1,
    }


def test_float32_survives_the_way_through_json() -> None:
    array = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    np.testing.assert_array_equal(np.array(json.loads(to_json(array)), np.float32), array)


def test_what_has_no_json_form_is_an_error() -> None:
    with pytest.raises(TypeError):
        to_json({"a": object()})


async def test_the_response_is_json() -> None:
    response = await json_response(lambda: {"a": np.float32([0.1])}, {"X-Truncated": "3"})
    assert (response.body, response.media_type) == (b'{"a":[0.1]}', "application/json")
    assert response.headers["x-truncated"] == "3"


async def test_a_response_has_the_format_that_was_asked_for() -> None:
    response = await respond(
        lambda: {"vector": stored(MATRIX[0], DType.INT8)}, MediaType.JSON, EncodingFormat.BASE64, {}
    )
    vector = json.loads(response.body)["vector"]
    assert (vector["dtype"], vector["shape"], len(vector["scales"])) == ("int8", [8], 1)
    response = await respond(lambda: {}, MediaType.NPZ, EncodingFormat.FLOAT, {})
    assert response.headers["content-type"] == "application/x-npz"


@pytest.mark.parametrize("vectors", [MATRIX, MATRIX[0], MATRIX.T, MATRIX[:, 3:6], MATRIX[:0]], ids=str)
@pytest.mark.parametrize("dtype", DType)
def test_base64_can_be_read_whatever_the_layout(vectors: np.ndarray, dtype: DType) -> None:
    written = stored(vectors, dtype)
    read = json.loads(encoded(written, MediaType.JSON, EncodingFormat.BASE64))
    array = np.frombuffer(base64.b64decode(read["data"]), read["dtype"]).reshape(read["shape"])
    np.testing.assert_array_equal(array, written.values)
    assert ("scales" in read) == (dtype is DType.INT8)


def test_lists_of_int8_come_with_their_scales() -> None:
    written = StoredVectors(np.int8([[1, -2]]), np.float32([0.5]))
    read = json.loads(encoded({"a": [written]}, MediaType.JSON))
    assert read == {"a": [{"data": [[1, -2]], "dtype": "int8", "shape": [1, 2], "scales": [0.5]}]}


def test_other_arrays_stay_lists() -> None:
    content = {"indices": np.arange(3), "weight": np.float32(0.5)}
    assert json.loads(encoded(content, MediaType.JSON, EncodingFormat.BASE64)) == {"indices": [0, 1, 2], "weight": 0.5}


def test_a_long_list_of_truncated_inputs_is_cut_itself() -> None:
    listed = truncation_headers(range(1000))["X-Truncated"].split(",")
    assert listed == [*map(str, range(MAX_LISTED)), "..."]
    assert truncation_headers([]) == {}


def test_usage_counts_the_tokens_of_all_inputs() -> None:
    assert report([Embedding(5), Embedding(7, truncated=True)], [1]) == {"X-Truncated": "1", "X-Usage-Tokens": "12"}


def test_a_missing_output_is_a_bug() -> None:
    assert required(5) == 5
    with pytest.raises(RuntimeError):
        required(None)
