"""What the libraries are told about threads before they are loaded."""

import os
import subprocess
import sys

import pytest

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM")
SCRIPT = f"""
import os, sys
from app import cli
print(*("torch" in sys.modules, *(os.environ.get(name) for name in {NAMES})), sep=",")
"""


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, "False,10000,None,1,false"),
        ({"GOMP_SPINCOUNT": "7", "TOKENIZERS_PARALLELISM": "true"}, "False,7,None,1,true"),
        ({"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "2"}, "False,None,PASSIVE,2,false"),
    ],
)
def test_threads_are_as_measured_unless_the_user_wants_otherwise(chosen: dict[str, str], expected: str) -> None:
    """All is set before torch is there to read it."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | chosen
    ran = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == expected
