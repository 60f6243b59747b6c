"""`Accept`: what is asked for is what comes."""

import pytest

from app.api.negotiation import MediaType, negotiate

NPZ, SAFETENSORS, JSON = "application/x-npz", "application/x-safetensors", "application/json"


@pytest.mark.parametrize(
    ("accept", "format_name"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("application/json, text/plain, */*", "json"),
        (NPZ, "npz"),
        (SAFETENSORS, "safetensors"),
        (f"{SAFETENSORS}, */*", "safetensors"),
        (f"*/*, {SAFETENSORS}", "safetensors"),
        (f"{SAFETENSORS}, application/json;q=0.5", "safetensors"),
        (f"{SAFETENSORS};q=0.5, application/json", "json"),
        (f"{SAFETENSORS};q=0.5, {NPZ};q=0.6", "npz"),
        (f"{SAFETENSORS}, {NPZ}", "safetensors"),
        (f"{NPZ}, {SAFETENSORS}", "npz"),
        (f"{NPZ} ; q=1.0 ; x=y, {JSON}", "npz"),
        (f"{JSON}, {NPZ}", "json"),
        (f"{JSON};q=0, */*;q=0.1", "npz"),
        (f"{NPZ};q=0, application/*", "json"),
        ("APPLICATION/X-NPZ", "npz"),
    ],
)
def test_the_best_liked_format_wins(accept: str, format_name: str) -> None:
    assert negotiate(accept) is MediaType[format_name.upper()]


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "image/png",
        ",",
        ";",
        "/",
        "*",
        f"{NPZ};q=nan",
        f"{NPZ};q=x",
        f"{NPZ};q=",
        f"{NPZ};q=-1",
        "ÿ/þ;q=1e999",
    ],
)
def test_json_answers_whoever_takes_none_of_ours(accept: str) -> None:
    assert negotiate(accept) is MediaType.JSON
