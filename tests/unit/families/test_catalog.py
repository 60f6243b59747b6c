"""Which family a checkpoint is of."""

from pathlib import Path

import pytest

from app.core.errors import ModelLoadError
from app.families.catalog import family_by_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        family_by_files(folder)
    assert str(folder) not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("file", "content", "family"),
    [
        ("config.json", '{"model_type": "bert"}', "e5"),
        ("config.json", '{"model_type": "dinov3_vit"}', "dinov3"),
        ("adapter_config.json", '{"base_model_name_or_path": "vidore/colqwen2.5-base"}', "colqwen2.5"),
    ],
)
def test_configurations_tell_the_family(folder: Path, file: str, content: str, family: str) -> None:
    (folder / file).write_text(content)
    assert family_by_files(folder).name == family


@pytest.mark.parametrize("content", ["{}", "[]", '{"model_type": "gpt2"}', '{"model_type": ["bert"]}'])
def test_another_family_is_refused_by_name(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    message = refusal(folder)
    assert message.startswith("mine is of no family that is served here")
    assert "Supported families: colqwen2.5, " in message


def test_a_checkpoint_that_is_not_there_is_refused_by_name(folder: Path) -> None:
    assert refusal(folder / "other").startswith("other is of no family")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a":' * 100_000])
@pytest.mark.parametrize("file", ["config.json", "adapter_config.json"])
def test_a_broken_configuration_is_named(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    assert refusal(folder).startswith(f"{file} of mine is broken or cannot be read")


@pytest.mark.parametrize("file", ["config.json", "adapter_config.json"])
def test_a_folder_in_place_of_a_configuration_is_named(folder: Path, file: str) -> None:
    (folder / file).mkdir()
    assert refusal(folder).startswith(f"{file} of mine is broken or cannot be read")
