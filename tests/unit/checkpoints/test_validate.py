import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.checkpoints.pickles import convert_pickles
from app.checkpoints.validate import validate
from app.core.errors import ModelLoadError
from tests.unit.checkpoints.folders import (
    adapter,
    bge_m3_pickles,
    new_folder,
    safetensors_model,
    sharded_pickles,
    write_json,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return safetensors_model(tmp_path)


def refusal(folder: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        validate(folder, "org/name")
    assert str(folder) not in caught.value.message
    return caught.value.message


def test_safetensors_are_accepted(folder: Path) -> None:
    validate(folder, "org/name")


def test_an_adapter_is_accepted(tmp_path: Path) -> None:
    validate(adapter(tmp_path, "org/base"), "org/name")


@pytest.mark.parametrize("pickled", [bge_m3_pickles, sharded_pickles])
def test_pickles_are_accepted_once_converted(tmp_path: Path, pickled: Callable[[Path], Path]) -> None:
    folder = pickled(tmp_path)
    assert "`python -m app models convert org/name`" in refusal(folder)
    convert_pickles(folder, folder)
    validate(folder, "org/name")


def test_a_head_that_is_only_pickled_is_refused(folder: Path) -> None:
    (folder / "sparse_linear.pt").write_bytes(b"")
    assert "models convert" in refusal(folder)


def test_pickles_that_hold_no_weights_do_not_matter(folder: Path) -> None:
    (folder / "training_args.bin").write_bytes(b"")
    validate(folder, "org/name")


@pytest.mark.parametrize("file", ["modeling.py", "deep/er/hook.PY", "__pycache__/modeling.pyc", "native.so"])
def test_code_is_refused_at_any_depth(folder: Path, file: str) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("")
    assert refusal(folder).startswith("org/name holds Python code")


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"]
)
@pytest.mark.parametrize("wrap", [lambda inner: inner, lambda inner: {"text_config": [inner]}])
def test_auto_map_is_refused(folder: Path, file: str, wrap: Callable[[object], dict[str, object]]) -> None:
    write_json(folder / file, {"model_type": "bert"} | wrap({"auto_map": {"AutoModel": "modeling.Model"}}))
    assert refusal(folder).startswith(f"{file} of org/name has an `auto_map`")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a":' * 100_000, "\x00"])
def test_a_broken_configuration_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    assert refusal(folder).startswith("config.json of org/name is broken")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "model.safetensors.index.json"])
def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path, file: str) -> None:
    folder = adapter(tmp_path, "org/base")
    (folder / file).mkdir()
    if file.endswith("config.json"):
        assert refusal(folder).startswith(f"{file} of org/name cannot be read")
    else:
        validate(folder, "org/name")


def test_an_index_of_pickles_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    folder = sharded_pickles(tmp_path)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text('{"weight_map":' * 100_000)
    assert refusal(folder).startswith("pytorch_model.bin.index.json of the checkpoint is broken")


def test_a_deep_configuration_is_no_problem(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 500 + "1" + "}" * 500)
    validate(folder, "org/name")


def test_a_folder_without_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "config.json is missing" in refusal(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    assert "holds no weights" in refusal(new_folder(tmp_path))


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_safetensors_are_refused(folder: Path, keep: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert refusal(folder).startswith("model.safetensors of org/name is broken or was not copied completely")


@pytest.mark.parametrize("damage", [b"\xff" * 8, b"\x00" * 8, b"version "])
def test_other_files_called_safetensors_are_refused(folder: Path, damage: bytes) -> None:
    """`version ...` is how a Git LFS pointer begins, which lies there after a clone without LFS."""
    file = folder / "model.safetensors"
    file.write_bytes(damage + file.read_bytes()[8:])
    assert refusal(folder).startswith("model.safetensors of org/name is broken")


def test_a_broken_head_is_refused_beside_a_good_model(folder: Path) -> None:
    (folder / "sparse_linear.safetensors").write_bytes(b"")
    assert refusal(folder).startswith("sparse_linear.safetensors of org/name is broken")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = sharded_pickles(tmp_path)
    convert_pickles(folder, folder)
    (folder / "model-00003-of-00003.safetensors").unlink()
    assert "model-00003-of-00003.safetensors is missing" in refusal(folder)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "model.bin", ""])
def test_an_index_that_points_elsewhere_is_refused(folder: Path, shard: str) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": shard}})
    assert "names a file that is no shard" in refusal(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a"]}])
def test_an_index_without_a_map_is_refused(folder: Path, index: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model.safetensors.index.json of org/name is broken" in refusal(folder)
