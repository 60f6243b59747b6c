"""Arrays on the wire."""

import json

import numpy as np
import pytest

from app.api.encoding import MAX_LISTED, json_response, required, to_json, truncation_headers


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
    response = await json_response({"a": np.float32([0.1])}, [3])
    assert (response.body, response.media_type) == (b'{"a":[0.1]}', "application/json")
    assert response.headers["x-truncated"] == "3"


def test_a_long_list_of_truncated_inputs_is_cut_itself() -> None:
    listed = truncation_headers(range(1000))["X-Truncated"].split(",")
    assert listed == [*map(str, range(MAX_LISTED)), "..."]
    assert truncation_headers([]) == {}


def test_a_missing_output_is_a_bug() -> None:
    assert required(5) == 5
    with pytest.raises(RuntimeError):
        required(None)
