"""Which backends of text models are there."""

from importlib.util import find_spec

import pytest


def skip_without(backend: str) -> None:
    """Skip the test where the backend is not installed, as OpenVINO on other processors than x86."""
    # Not by importing it: how that is to be done is the application's business.
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed here")
