"""Just enough of Dockerfile and .dockerignore to check ours without a Docker engine."""

import json
import re
import shlex
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Instruction:
    """One instruction, e.g. `COPY` with the value `app ./app`."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The value's words after options such as `--from=build`."""
        return list(dropwhile(_is_option, shlex.split(self.value)))

    @property
    def options(self) -> dict[str, str]:
        """`{"from": "build"}`"""
        options = (word[2:].partition("=") for word in takewhile(_is_option, shlex.split(self.value)))
        return {name: value for name, _, value in options}

    @property
    def command(self) -> list[str]:
        """The list in `CMD [...]` or `HEALTHCHECK ... CMD [...]`."""
        return json.loads(self.value[self.value.index("[") :])


def _is_option(word: str) -> bool:
    return word.startswith("--")


def read_dockerfile(path: Path) -> list[Instruction]:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions of the image itself, from its FROM on."""
    return instructions[max(i for i, instruction in enumerate(instructions) if instruction.name == "FROM") :]


def values(instructions: list[Instruction], name: str) -> list[str]:
    return [instruction.value for instruction in instructions if instruction.name == name]


def environment(instructions: list[Instruction]) -> dict[str, str]:
    """What ENV sets."""
    pairs = (word.partition("=") for value in values(instructions, "ENV") for word in shlex.split(value))
    return {name: value for name, _, value in pairs}


def is_ignored(path: str, dockerignore: Path) -> bool:
    """Whether Docker leaves the path out of a build: the last pattern that fits it or a folder above decides."""
    places = [path, *(str(parent) for parent in PurePosixPath(path).parents if str(parent) != ".")]
    ignored = False
    for line in dockerignore.read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if pattern and not pattern.startswith("#") and any(_fits(place, pattern) for place in places):
            ignored = not line.startswith("!")
    return ignored


def _fits(path: str, pattern: str) -> bool:
    parts = re.split(r"(\*\*/|\*)", pattern)
    expression = "".join({"**/": "(.*/)?", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts)
    return re.fullmatch(expression, path) is not None
