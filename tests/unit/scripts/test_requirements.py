"""The requirements files are complete: everything that they bring is pinned, nothing is pinned twice."""

from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
RUNTIME, GPU, DEV = (ROOT / f"requirements{name}.txt" for name in ("", "-gpu", "-dev"))
ORACLE = ROOT / "tests/parity/oracle/requirements.txt"
CUDA_PREFIXES = ("nvidia-", "cuda-", "triton")


def read(path: Path) -> dict[str, Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    found = [Requirement(line) for line in lines if line]
    named = {canonicalize_name(requirement.name): requirement for requirement in found}
    assert len(named) == len(found), f"{path.name} names a package twice"
    return named


def needs(requirement: Requirement) -> set[str]:
    """Names of the packages that an installed package declares for this machine, its extras included."""
    try:
        declared = [Requirement(line) for line in requires(requirement.name) or []]
    except PackageNotFoundError:
        return set()
    extras = requirement.extras or {""}
    return {
        canonicalize_name(need.name)
        for need in declared
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)
    }


@pytest.mark.parametrize("path", [RUNTIME, GPU, DEV, ORACLE], ids=lambda path: path.parent.name + "-" + path.stem)
def test_every_requirement_is_pinned_to_one_version(path: Path) -> None:
    for requirement in read(path).values():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement


@pytest.mark.parametrize(("path", "below"), [(RUNTIME, ()), (DEV, (RUNTIME,))], ids=["runtime", "dev"])
def test_what_the_requirements_need_is_pinned_too(path: Path, below: tuple[Path, ...]) -> None:
    pinned = set(read(path)).union(*(read(other) for other in below))
    missing = {need for requirement in read(path).values() for need in needs(requirement)} - pinned
    # The CUDA build of torch brings its own exact pins.
    assert {name for name in missing if not name.startswith(CUDA_PREFIXES)} == set()


@pytest.mark.parametrize("path", [GPU, DEV, ORACLE], ids=lambda path: path.parent.name + "-" + path.stem)
def test_nothing_is_pinned_in_two_files(path: Path) -> None:
    assert set(read(path)) & set(read(RUNTIME)) == set()
