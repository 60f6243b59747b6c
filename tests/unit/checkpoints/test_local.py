from pathlib import Path

import pytest

from app.checkpoints.local import find, list_checkpoints
from app.core.errors import ModelLoadError
from tests.unit.checkpoints.folders import adapter, safetensors_model


@pytest.mark.parametrize(("folder", "asked"), [("org/name", "org/name"), ("name", "org/name"), ("name", "name")])
def test_a_folder_is_found_by_its_name_or_the_last_part_of_it(models_dir: Path, folder: str, asked: str) -> None:
    assert find(asked, models_dir) is None
    safetensors_model(models_dir / folder)
    assert find(asked, models_dir) == (models_dir / folder).resolve()


def test_the_whole_name_comes_first(models_dir: Path) -> None:
    safetensors_model(models_dir / "name")
    expected = safetensors_model(models_dir / "org/name")
    assert find("org/name", models_dir) == expected.resolve()


def test_folders_without_files_do_not_count(models_dir: Path) -> None:
    (models_dir / "org").mkdir()
    (models_dir / "name/nested").mkdir(parents=True)
    (models_dir / "name/.lock").write_text("")
    assert find("name", models_dir) is None
    assert find("org", models_dir) is None


def test_an_absolute_path_is_taken_as_it_is(models_dir: Path, tmp_path: Path) -> None:
    elsewhere = safetensors_model(tmp_path / "elsewhere")
    assert find(str(elsewhere), models_dir) == elsewhere
    assert find(str(tmp_path / "nowhere"), models_dir) is None


@pytest.mark.parametrize("name", ["../secret", "org/../../secret", "a/../.."])
def test_names_do_not_lead_out_of_the_models_folder(models_dir: Path, tmp_path: Path, name: str) -> None:
    safetensors_model(tmp_path / "secret")
    safetensors_model(models_dir / "org")
    (models_dir / "a").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelLoadError, match="leads out of the models folder") as caught:
        find(name, models_dir)
    assert str(tmp_path) not in caught.value.message


def test_symbolic_links_do_not_lead_out_of_the_models_folder(models_dir: Path, tmp_path: Path) -> None:
    (models_dir / "name").symlink_to(safetensors_model(tmp_path / "secret"))
    with pytest.raises(ModelLoadError, match="name leads out of the models folder"):
        find("org/name", models_dir)


def test_links_within_a_linked_models_folder_are_followed(models_dir: Path, tmp_path: Path) -> None:
    target = safetensors_model(models_dir / "version-2")
    (models_dir / "name").symlink_to(target)
    (tmp_path / "link").symlink_to(models_dir)
    assert find("name", tmp_path / "link") == target.resolve()


def test_the_list_holds_every_checkpoint(models_dir: Path) -> None:
    for name in ("org/name", "alone", "starter/untrained/e5", ".hidden/name"):
        safetensors_model(models_dir / name)
    adapter(models_dir / "lora", "org/name")
    (models_dir / "notes.txt").write_text("")
    found = list_checkpoints(models_dir)
    assert [checkpoint.name for checkpoint in found] == ["alone", "lora", "org/name", "starter/untrained/e5"]
    assert [checkpoint.is_adapter for checkpoint in found] == [False, True, False, False]
    assert found[0].n_bytes == sum(file.stat().st_size for file in (models_dir / "alone").iterdir())


def test_a_missing_models_folder_holds_nothing(tmp_path: Path) -> None:
    assert list_checkpoints(tmp_path / "none") == []
    assert find("org/name", tmp_path / "none") is None
