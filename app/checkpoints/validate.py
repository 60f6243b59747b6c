"""What a checkpoint folder must look like before any of it is loaded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from app.checkpoints.local import CONFIG_FILES
from app.checkpoints.pickles import pending
from app.core.errors import ModelLoadError

CODE_SUFFIXES = frozenset({".py", ".pyc", ".pyw", ".so", ".pyd"})
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")


def validate(folder: Path, name: str) -> None:
    """Raise `ModelLoadError`, which calls the checkpoint `name`, unless the folder is safe and complete to load.

    Safe: no code, no `auto_map` that asks for code, no weights that exist as pickles only. Complete: a configuration
    that can be read, and safetensors whose headers agree with the length of the files.
    """
    _refuse_code(folder, name)
    _check_configuration(folder, name)
    if pending(folder):
        raise ModelLoadError(
            f"{name} holds pickled weights, and the server loads safetensors only. "
            f"Run `python -m app models convert {name}` once."
        )
    if not any((folder / file).is_file() for file in WEIGHTS):
        raise ModelLoadError(f"{name} holds no weights: it needs {WEIGHTS[0]} or its shards and index.")
    for shard in _indexed_shards(folder, name):
        if not (folder / shard).is_file():
            raise ModelLoadError(f"{name} is incomplete: {shard} is missing. Copy it again.")
    for file in sorted(folder.glob("*.safetensors")):
        _check_safetensors(file, name)


def _refuse_code(folder: Path, name: str) -> None:
    if any(file.suffix.lower() in CODE_SUFFIXES for file in folder.rglob("*")):
        raise ModelLoadError(f"{name} holds Python code, which this server never runs. Remove it from the checkpoint.")


def _check_configuration(folder: Path, name: str) -> None:
    if not any((folder / file).is_file() for file in CONFIG_FILES):
        raise ModelLoadError(f"{name} is not a checkpoint in the Hugging Face format: config.json is missing.")
    for file in sorted(folder.glob("*config.json")):
        if _asks_for_code(_read_json(file, name)):
            raise ModelLoadError(
                f"{file.name} of {name} has an `auto_map`, which asks for Python code that this server never runs. "
                "Remove it if the checkpoint works without."
            )


def _read_json(file: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelLoadError(
            f"{file.name} of {name} cannot be read. Check its permissions, or copy it again."
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{file.name} of {name} is broken: it is not JSON. Copy it again.") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"{file.name} of {name} is broken: it is not a JSON object. Copy it again.")
    return content


def _asks_for_code(content: Any) -> bool:
    """True if there is an `auto_map` at any depth."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("auto_map"):
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _indexed_shards(folder: Path, name: str) -> Iterator[str]:
    """Names of the files that the index says hold the weights."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    weight_map = _read_json(index, name).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelLoadError(f"{index.name} of {name} is broken: it has no weight_map. Copy it again.")
    for shard in sorted(set(map(str, weight_map.values()))):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise ModelLoadError(f"{index.name} of {name} is refused: it names a file that is no shard.")
        yield shard


def _check_safetensors(file: Path, name: str) -> None:
    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelLoadError(f"{file.name} of {name} is broken or was not copied completely. Copy it again.") from error
