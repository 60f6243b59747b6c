"""What the command line does before the server exists."""

import os
import subprocess
import sys

import pytest

from app.cli import SPIN_COUNT

SCRIPT = """
import os, sys
from app import cli

def create_app(settings):
    print("torch" in sys.modules, os.environ["GOMP_SPINCOUNT"])
    sys.exit()

cli.create_app = create_app
cli.main(["serve"])
"""


@pytest.mark.parametrize(("chosen", "expected"), [({}, SPIN_COUNT), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_idle_threads_of_torch_sleep_soon_unless_the_user_wants_otherwise(
    chosen: dict[str, str], expected: str
) -> None:
    """It is set before torch is there to read it."""
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | chosen
    ran = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", expected]
