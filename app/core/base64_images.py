"""Pictures that come inside JSON: base64 text, bare or as a data URI."""

import base64
import re

from app.core.errors import BadInputError

DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


def decode_base64_image_bytes(text: str, label: str) -> bytes:
    """The bytes that `text` encodes in base64, bare or as `data:image/png;base64,...`; white space is ignored.

    `label` names the picture in error messages. Raises `BadInputError` for anything else, web addresses
    included.
    """
    text = text.strip()
    if WEB_ADDRESS.match(text):
        raise BadInputError(f"{label} is a web address, and addresses are not fetched: send the image as base64.")
    if prefix := DATA_URI.match(text):
        text = text[prefix.end() :]
    encoded = "".join(text.split())
    try:
        data = base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise BadInputError(f"{label} is not valid base64.") from error
    if not data:
        raise BadInputError(f"{label} is empty.")
    return data
