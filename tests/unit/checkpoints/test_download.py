import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from app.checkpoints.convert import convert
from app.checkpoints.download import download
from app.checkpoints.hub import Hub
from app.core.errors import ModelLoadError
from tests.unit.checkpoints.folders import (
    bge_m3_pickles,
    files,
    safetensors_model,
    sharded_pickles,
    tensors,
    write_malicious,
)
from tests.unit.checkpoints.hub_server import HubServer

REPO = "BAAI/bge-m3"
CONVERTED = {
    "config.json",
    "tokenizer_config.json",
    "model.safetensors",
    "sparse_linear.safetensors",
    "colbert_linear.safetensors",
}


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Hub:
    return Hub(endpoint=server.url, cache_dir=tmp_path / "cache")


def visible(folder: Path) -> set[str]:
    return {name for name in files(folder) if "/." not in f"/{name}"}


def test_safetensors_stay_in_the_hubs_cache(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    server.repos["org/name"] = source = safetensors_model(tmp_path / "source")
    torch.save(tensors(), source / "pytorch_model.bin")
    for unwanted in ("modeling.py", "onnx/config.json", "training_args.bin", "checkpoint-5/model.safetensors"):
        (source / unwanted).parent.mkdir(exist_ok=True)
        (source / unwanted).write_text("")
    folder = download("org/name", None, models_dir, hub)
    assert folder.is_relative_to(tmp_path / "cache")
    assert files(folder) == {"config.json", "tokenizer_config.json", "model.safetensors"} == set(server.downloaded)
    assert files(models_dir) == set()


def test_pickles_are_converted_into_the_models_folder(
    server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path
) -> None:
    server.repos[REPO] = bge_m3_pickles(tmp_path / "source")
    folder = download(REPO, None, models_dir, hub)
    assert folder == models_dir / REPO
    assert files(folder) == CONVERTED
    torch.testing.assert_close(load_file(folder / "model.safetensors"), tensors())
    assert not list((tmp_path / "cache").rglob("model.safetensors"))


def test_sharded_pickles_are_converted(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    server.repos["org/big"] = sharded_pickles(tmp_path / "source")
    shards = {f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)}
    expected = {"config.json", "tokenizer_config.json", "model.safetensors.index.json"} | shards
    assert files(download("org/big", None, models_dir, hub)) == expected


def test_pickled_heads_beside_safetensors_are_converted(
    server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path
) -> None:
    server.repos[REPO] = bge_m3_pickles(safetensors_model(tmp_path / "source"))
    assert files(download(REPO, None, models_dir, hub)) == CONVERTED
    assert "pytorch_model.bin" not in server.downloaded


def test_a_malicious_pickle_leaves_nothing(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    server.repos[REPO] = bge_m3_pickles(tmp_path / "source")
    write_malicious(tmp_path / "source/sparse_linear.pt", tmp_path / "trace", zipped=True)
    with pytest.raises(ModelLoadError, match=r"sparse_linear\.pt of the checkpoint was refused"):
        download(REPO, None, models_dir, hub)
    assert not (tmp_path / "trace").exists()
    assert visible(models_dir) == set()


def test_what_a_killed_process_left_is_replaced(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    server.repos[REPO] = bge_m3_pickles(tmp_path / "source")
    (models_dir / "BAAI/.bge-m3.partial").mkdir(parents=True)
    (models_dir / "BAAI/.bge-m3.partial/model.safetensors").write_bytes(b"half")
    assert files(download(REPO, None, models_dir, hub)) == CONVERTED


class HubForAll(Hub):
    """Lets its callers go on only when all of them have their download."""

    def __init__(self, folder: Path, callers: int) -> None:
        super().__init__()
        self._folder = folder
        self._all_here = Barrier(callers)

    def download(self, repo: str, revision: str | None, allow: Sequence[str], ignore: Sequence[str] = ()) -> Path:
        self._all_here.wait(timeout=30)
        return self._folder


def test_of_several_at_once_one_converts(models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []

    def copytree(source: Path, target: Path, ignore: Any) -> None:
        copies.append(target)
        genuine_copytree(source, target, ignore=ignore)

    genuine_copytree = shutil.copytree
    monkeypatch.setattr("shutil.copytree", copytree)
    hub = HubForAll(bge_m3_pickles(tmp_path / "source"), callers=4)
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: download(REPO, None, models_dir, hub), range(4)))
    assert folders == {models_dir / REPO}
    assert files(models_dir / REPO) == CONVERTED
    assert len(copies) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [(OSError(28, "No space left on device"), "The disk is full"), (PermissionError(13, ""), "folder writable")],
)
def test_a_models_folder_that_cannot_be_written(
    server: HubServer,
    hub: Hub,
    models_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    message: str,
) -> None:
    def copytree(source: Path, target: Path, ignore: object) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}")
        raise error

    server.repos[REPO] = bge_m3_pickles(tmp_path / "source")
    monkeypatch.setattr("shutil.copytree", copytree)
    with pytest.raises(ModelLoadError, match=message) as caught:
        download(REPO, None, models_dir, hub)
    assert str(tmp_path) not in caught.value.message
    assert visible(models_dir) == set()


def test_the_command_converts_in_place_and_once(models_dir: Path) -> None:
    folder = bge_m3_pickles(models_dir / "bge-m3")
    assert convert(REPO, models_dir) == ["sparse_linear.safetensors", "colbert_linear.safetensors", "model.safetensors"]
    assert files(folder) == CONVERTED | {"pytorch_model.bin", "sparse_linear.pt", "colbert_linear.pt"}
    assert convert(REPO, models_dir) == []


def test_the_command_downloads_what_is_not_there(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    server.repos[REPO] = bge_m3_pickles(tmp_path / "source")
    assert set(convert(REPO, models_dir, hub)) == {name for name in CONVERTED if name.endswith(".safetensors")}
    assert files(models_dir / REPO) == CONVERTED


def test_the_command_without_a_hub_says_what_is_missing(models_dir: Path) -> None:
    with pytest.raises(ModelLoadError, match="no checkpoint BAAI/bge-m3 in the models folder"):
        convert(REPO, models_dir)
