import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from app.checkpoints.pickles import convert_pickles, converted_name, pending
from app.core.errors import ModelLoadError
from tests.unit.checkpoints.folders import (
    bge_m3_pickles,
    files,
    new_folder,
    safetensors_model,
    sharded_pickles,
    tensors,
    write_json,
    write_malicious,
)


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("pickled", "converted"),
    [
        ("pytorch_model.bin", "model.safetensors"),
        ("pytorch_model-00001-of-00002.bin", "model-00001-of-00002.safetensors"),
        ("pytorch_model.bin.index.json", "model.safetensors.index.json"),
        ("adapter_model.bin", "adapter_model.safetensors"),
        ("sparse_linear.pt", "sparse_linear.safetensors"),
    ],
)
def test_files_are_called_as_transformers_calls_them(pickled: str, converted: str) -> None:
    assert converted_name(pickled) == converted


def test_bge_m3_gets_a_model_and_two_heads(tmp_path: Path) -> None:
    folder = bge_m3_pickles(tmp_path)
    before = files(folder)
    written = convert_pickles(folder, folder)
    twins = {"model.safetensors", "sparse_linear.safetensors", "colbert_linear.safetensors"}
    assert {file.name for file in written} == twins
    assert files(folder) == before | twins
    assert_equal(load_file(folder / "model.safetensors"), tensors())
    head = torch.load(folder / "colbert_linear.pt", weights_only=True)
    assert_equal(load_file(folder / "colbert_linear.safetensors"), head)
    assert list(head) == ["weight", "bias"]


def test_nothing_is_converted_twice(tmp_path: Path) -> None:
    folder = bge_m3_pickles(tmp_path)
    convert_pickles(folder, folder)
    assert convert_pickles(folder, folder) == []


def test_a_head_beside_a_model_in_safetensors_is_converted(tmp_path: Path) -> None:
    folder = bge_m3_pickles(safetensors_model(tmp_path))
    assert [file.name for file in pending(folder)] == ["sparse_linear.pt", "colbert_linear.pt"]


def test_shards_are_converted_one_by_one_and_the_index_last(tmp_path: Path) -> None:
    folder = sharded_pickles(tmp_path)
    written = convert_pickles(folder, folder)
    assert [file.name for file in written] == [
        *(f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)),
        "model.safetensors.index.json",
    ]
    weight_map = json.loads(written[-1].read_text())["weight_map"]
    assert_equal({name: load_file(folder / shard)[name] for name, shard in weight_map.items()}, tensors())


def test_the_library_loads_what_was_converted(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    model = BertModel(config, add_pooling_layer=False)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    convert_pickles(tmp_path, tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    loaded = BertModel.from_pretrained(tmp_path, add_pooling_layer=False)
    assert_equal(loaded.state_dict(), model.state_dict())


def test_aliases_and_strided_views_keep_their_values(tmp_path: Path) -> None:
    weight = torch.arange(12.0).reshape(3, 4)
    content = {"a": weight, "tied": weight, "transposed": weight.T, "row": weight[1], "empty": torch.zeros(0, 4)}
    torch.save(content, new_folder(tmp_path) / "pytorch_model.bin")
    convert_pickles(tmp_path, tmp_path)
    assert_equal(load_file(tmp_path / "model.safetensors"), content)


def test_dtypes_and_parameters_are_kept(tmp_path: Path) -> None:
    content = {"half": torch.ones(2, dtype=torch.bfloat16), "parameter": torch.nn.Parameter(torch.ones(2))}
    torch.save(content, new_folder(tmp_path) / "pytorch_model.bin")
    convert_pickles(tmp_path, tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    assert (found["half"].dtype, found["parameter"].dtype) == (torch.bfloat16, torch.float32)


def test_the_older_unzipped_layout_is_read(tmp_path: Path) -> None:
    file = new_folder(tmp_path) / "pytorch_model.bin"
    torch.save(tensors(), file, _use_new_zipfile_serialization=False)
    convert_pickles(tmp_path, tmp_path)
    assert_equal(load_file(tmp_path / "model.safetensors"), tensors())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "trace"
    folder = new_folder(tmp_path / "model")
    write_malicious(folder / "pytorch_model.bin", trace, zipped)
    before = files(folder)
    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin of the checkpoint was refused"):
        convert_pickles(folder, folder)
    assert not trace.exists()
    assert files(folder) == before


def test_the_malicious_pickle_runs_where_nothing_guards(tmp_path: Path) -> None:
    """Proves that the test above can fail."""
    write_malicious(tmp_path / "file", tmp_path / "trace", zipped=False)
    pickle.loads((tmp_path / "file").read_bytes())  # noqa: S301
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("damage", [b"", b"not a pickle", b"\x80\x02}q\x00.", b"PK\x03\x04 truncated"])
def test_a_broken_pickle_is_refused(tmp_path: Path, damage: bytes) -> None:
    (new_folder(tmp_path) / "pytorch_model.bin").write_bytes(damage)
    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin of the checkpoint"):
        convert_pickles(tmp_path, tmp_path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = bge_m3_pickles(tmp_path) / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-600])
    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin of the checkpoint"):
        convert_pickles(tmp_path, tmp_path)
    assert "model.safetensors" not in files(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {"a": torch.ones(1)}}, {1: torch.ones(1)}])
def test_other_content_than_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, new_folder(tmp_path) / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="something else than named tensors"):
        convert_pickles(tmp_path, tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (sharded_pickles(tmp_path) / "pytorch_model-00002-of-00003.bin").unlink()
    with pytest.raises(ModelLoadError, match=r"pytorch_model-00002-of-00003\.bin is missing"):
        convert_pickles(tmp_path, tmp_path)


@pytest.mark.parametrize(
    "index", [{}, [], {"weight_map": {}}, {"weight_map": {"a": "../secret.bin"}}, {"weight_map": {"a": 1}}]
)
def test_a_broken_index_is_refused(tmp_path: Path, index: object) -> None:
    write_json(new_folder(tmp_path) / "pytorch_model.bin.index.json", index)
    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin\.index\.json of the checkpoint"):
        convert_pickles(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "The disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "The disk is full"),
        (PermissionError(13, "Permission denied"), "cannot be read or written"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def save_file(content: object, file: Path, metadata: object) -> None:
        file.write_bytes(b"half a")
        raise error

    folder = bge_m3_pickles(tmp_path)
    before = files(folder)
    monkeypatch.setattr("safetensors.torch.save_file", save_file)
    with pytest.raises(ModelLoadError, match=message):
        convert_pickles(folder, folder)
    assert files(folder) == before
