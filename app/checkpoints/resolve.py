"""From the name of a checkpoint to a folder that may be loaded."""

import json
import re
from pathlib import Path

from app.checkpoints.download import download
from app.checkpoints.hub import Hub
from app.checkpoints.local import display_name, find, sibling
from app.checkpoints.validate import validate
from app.core.errors import ModelLoadError
from app.families.base import Checkpoint

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ADAPTER_CONFIG = "adapter_config.json"


def resolve(checkpoint: str, revision: str | None, models_dir: Path, hub: Hub | None) -> Checkpoint:
    """Find, download if need be, and check a checkpoint and, if it is a LoRA adapter, its base model.

    A folder under `models_dir` comes first, whatever `revision` says; then the hub (None: no hub). Blocks while it
    downloads. Raises `ModelLoadError` that says what to do.
    """
    name = display_name(checkpoint)
    folder = find(checkpoint, models_dir) or _from_hub(checkpoint, revision, models_dir, hub)
    validate(folder, name)
    if not _is_adapter(folder):
        return Checkpoint(folder)
    base, base_revision = _base_of(folder, name)
    base_folder = _local_base(base, folder, models_dir)
    if base_folder is None:
        if not HUB_ID.fullmatch(base):
            raise ModelLoadError(f"{name} is an adapter: put its base model into the folder {base}/ beside it.")
        base_folder = _from_hub(base, base_revision, models_dir, hub)
    validate(base_folder, base)
    if _is_adapter(base_folder):
        raise ModelLoadError(f"{base}, the base model of {name}, is an adapter itself. Merge it into its own base.")
    return Checkpoint(folder, base_folder)


def base_name(adapter: Path) -> str:
    """The name by which an adapter's folder calls its base: a hub id, or else a folder's mere name."""
    return _base_of(adapter, display_name(str(adapter)))[0]


def _from_hub(checkpoint: str, revision: str | None, models_dir: Path, hub: Hub | None) -> Path:
    if Path(checkpoint).is_absolute():
        raise ModelLoadError(f"The folder of the checkpoint {display_name(checkpoint)} is missing or empty.")
    if hub is None:
        raise ModelLoadError(
            f"There is no checkpoint {checkpoint}: put its files into the folder {checkpoint}/ under the models folder."
        )
    return download(checkpoint, revision, models_dir, hub)


def _is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file() and (folder / "adapter_model.safetensors").is_file()


def _base_of(folder: Path, name: str) -> tuple[str, str | None]:
    """A hub id, or else a folder's mere name, and the revision on the hub.

    The adapter's author wrote it, so a path in it (often one of the machine it was trained on) is not followed.
    """
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if isinstance(base, str) and not HUB_ID.fullmatch(base):
        base = Path(base).name
    if not isinstance(base, str) or base in ("", ".", ".."):
        raise ModelLoadError(f"{ADAPTER_CONFIG} of {name} does not name a base model (base_model_name_or_path).")
    return base, revision if isinstance(revision, str) else None


def _local_base(base: str, adapter: Path, models_dir: Path) -> Path | None:
    """Under the models folder by its own rules, else beside the adapter; never the adapter itself."""
    folder = find(base, models_dir)
    return folder if folder is not None and folder != adapter.resolve() else sibling(adapter, base)
