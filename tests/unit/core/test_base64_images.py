import base64

import pytest

from app.core.base64_images import decode_base64_image_bytes
from app.core.errors import BadInputError

DATA = bytes(range(256)) * 3
ENCODED = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        ENCODED,
        f"  {ENCODED}\n",
        base64.encodebytes(DATA).decode(),
        ENCODED.replace("A", "A\r\n\t "),
        f"data:image/png;base64,{ENCODED}",
        f"DATA:image/PNG;charset=utf-8;BASE64,{ENCODED}",
        f"data:;base64, {ENCODED}",
    ],
)
def test_bare_base64_and_data_uris_are_decoded(text: str) -> None:
    assert decode_base64_image_bytes(text, "image 1") == DATA


@pytest.mark.parametrize(
    "text",
    ["not base64!", "abc", "AAAA=AAA", "ÄÄÄÄ", "\ud800AAA", "AA\0A", "data:image/png,AAAA", "file:///etc/passwd"],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadInputError, match=r"^image 1 is not valid base64\.$"):
        decode_base64_image_bytes(text, "image 1")


@pytest.mark.parametrize("text", ["", " \n", "data:image/png;base64,"])
def test_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="image 1 is empty"):
        decode_base64_image_bytes(text, "image 1")


@pytest.mark.parametrize("text", ["http://example.org/a.png", " HTTPS://example.org/a.png"])
def test_a_web_address_is_never_fetched(text: str) -> None:
    with pytest.raises(BadInputError, match="image 1 is a web address, and addresses are not fetched"):
        decode_base64_image_bytes(text, "image 1")
