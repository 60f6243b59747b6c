"""Where tests compute: on the CPU, and again on a GPU where there is one (`python -m pytest -m gpu`)."""

import pytest

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))
"""To parametrize with."""
