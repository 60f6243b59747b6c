"""The flags of `python -m app train`: a training's options, from the same declarations as the HTTP routes'."""

import argparse
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from app.core.errors import BadInputError
from app.training.options import LoraOptions, TrainingOptions

FIELDS = ("model_name", "base_model", "hard_negatives", *TrainingOptions.model_fields, *LoraOptions.model_fields)
FIELD = re.compile(rf"(?<![\w-])({'|'.join(name for name in FIELDS if '_' in name)})\b")
"""Those that are no words of the language."""
VALUE = re.compile(r"`(\w+): (?:true|false)`")
VALUES = {"`use_qlora: false`": "--lora"}
"""Where the flag is not called as the field."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them all."""
    parser.description = (
        "Fine-tune a model on pairs: lines of query, tab, passage; for page models JSON lines or Parquet with `query` "
        "and `image`. Stopped with Ctrl-C it goes on with --resume. Jobs that wait for a server are left to it."
    )
    parser.add_argument("pairs", nargs="?", type=Path, help="the file of pairs")
    parser.add_argument("--model-name", help="name under which the result is served")
    parser.add_argument("--base-model", help="served name of the model to train further")
    parser.add_argument("--lora", action="store_true", help="train low-rank matrices only (page models: always)")
    parser.add_argument("--qlora", action="store_true", help="the same over a base in 4 bits; needs an NVIDIA GPU")
    parser.add_argument("--hard-negatives", action="store_true", help="lines have a third part, a hard negative")
    parser.add_argument("--overwrite", action="store_true", help="replace a model of this name")
    parser.add_argument("--resume", metavar="JOB", help="go on with this job instead")
    for kind in (TrainingOptions, LoraOptions):
        for name, field in kind.model_fields.items():
            flag = _flag(name)
            if field.annotation is bool:
                parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=field.description)
            else:
                parser.add_argument(flag, metavar="X", help=field.description)


def chosen(kind: Any, options: argparse.Namespace) -> Any:
    """What was given on the command line, the rest by default. Raises `BadInputError`."""
    given = {name: value for name in kind.model_fields if (value := getattr(options, name)) is not None}
    try:
        chosen: BaseModel = kind.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        raise BadInputError(f"{_flag(str(problem['loc'][0]))}: {problem['msg']}.") from error
    return chosen


def in_flags(message: str) -> str:
    """An error's hints, which speak of the fields of requests, in the words of the command line."""
    message = VALUE.sub(lambda found: VALUES.get(found[0], _flag(found[1])), message)
    return FIELD.sub(lambda found: _flag(found[0]), message)


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"
