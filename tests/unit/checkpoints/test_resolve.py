from pathlib import Path

import pytest

from app.checkpoints.hub import Hub
from app.checkpoints.resolve import resolve
from app.core.errors import ModelLoadError
from app.families.base import Checkpoint
from tests.unit.checkpoints.folders import adapter, bge_m3_pickles, files, safetensors_model
from tests.unit.checkpoints.hub_server import HubServer


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Hub:
    return Hub(endpoint=server.url, cache_dir=tmp_path / "cache")


def test_a_local_folder_needs_no_hub(models_dir: Path) -> None:
    folder = safetensors_model(models_dir / "org/name")
    assert resolve("org/name", "v1", models_dir, None) == Checkpoint(folder.resolve())


def test_a_local_folder_comes_before_the_hub(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    server.repos["org/name"] = safetensors_model(tmp_path / "source")
    folder = safetensors_model(models_dir / "name")
    assert resolve("org/name", None, models_dir, hub).path == folder.resolve()
    assert server.downloaded == []


def test_the_hub_is_asked_for_what_is_not_there(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    server.repos["org/name"] = safetensors_model(tmp_path / "source")
    checkpoint = resolve("org/name", None, models_dir, hub)
    assert "model.safetensors" in files(checkpoint.path)


def test_converted_pickles_are_found_without_the_hub_next_time(
    server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path
) -> None:
    server.repos["BAAI/bge-m3"] = bge_m3_pickles(tmp_path / "source")
    first = resolve("BAAI/bge-m3", None, models_dir, hub)
    assert resolve("BAAI/bge-m3", None, models_dir, None).path == first.path.resolve()


def test_what_is_nowhere_says_where_to_put_it(models_dir: Path) -> None:
    with pytest.raises(ModelLoadError, match="put its files into the folder org/name/ under the models folder"):
        resolve("org/name", None, models_dir, None)


def test_a_refused_folder_does_not_fall_back_to_the_hub(
    server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path
) -> None:
    server.repos["org/name"] = safetensors_model(tmp_path / "source")
    (safetensors_model(models_dir / "name") / "modeling.py").write_text("")
    with pytest.raises(ModelLoadError, match="org/name holds Python code"):
        resolve("org/name", None, models_dir, hub)


def test_an_absolute_path_stays_off_the_hub_and_out_of_messages(hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    folder = safetensors_model(tmp_path / "elsewhere/name")
    assert resolve(str(folder), None, models_dir, hub) == Checkpoint(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"^name is not a checkpoint"):
        resolve(str(folder), None, models_dir, hub)
    with pytest.raises(ModelLoadError, match=r"^The folder of the checkpoint gone is missing or empty"):
        resolve(str(tmp_path / "gone"), None, models_dir, hub)


@pytest.mark.parametrize(
    ("adapter_at", "base_at", "base"),
    [
        ("org/lora", "org/base", "org/base"),
        ("lora", "base", "org/base"),
        ("org/lora", "org/base", "other/base"),
        ("org/lora", "org/base", "/home/author/checkpoints/base"),
        ("lora", "base", "./models/base"),
        ("lora", "base", "../../base"),
        ("base", "org/base", "org/base"),
    ],
)
def test_an_adapters_base_is_found_on_disk(models_dir: Path, adapter_at: str, base_at: str, base: str) -> None:
    folder = adapter(models_dir / adapter_at, base)
    base_folder = safetensors_model(models_dir / base_at)
    assert resolve(adapter_at, None, models_dir, None) == Checkpoint(folder.resolve(), base_folder.resolve())


def test_an_adapter_elsewhere_finds_its_neighbour(models_dir: Path, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "elsewhere/lora", "org/base")
    base = safetensors_model(tmp_path / "elsewhere/base")
    assert resolve(str(folder), None, models_dir, None) == Checkpoint(folder, base.resolve())


def test_an_adapter_and_its_base_come_from_the_hub(
    server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path
) -> None:
    server.repos["org/lora"] = adapter(tmp_path / "lora", "other/base", revision="main")
    server.repos["other/base"] = safetensors_model(tmp_path / "base")
    checkpoint = resolve("org/lora", None, models_dir, hub)
    assert files(checkpoint.path) == {"adapter_config.json", "adapter_model.safetensors"}
    assert checkpoint.base is not None
    assert "model.safetensors" in files(checkpoint.base)


def test_an_adapter_that_is_called_as_its_base_is_not_its_own_base(
    server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path
) -> None:
    folder = adapter(models_dir / "base", "other/base")
    server.repos["other/base"] = safetensors_model(tmp_path / "base")
    checkpoint = resolve("base", None, models_dir, hub)
    assert checkpoint.path == folder.resolve()
    assert checkpoint.base is not None
    assert "model.safetensors" in files(checkpoint.base)


def test_the_bases_revision_is_the_one_that_the_adapter_names(
    server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path
) -> None:
    adapter(models_dir / "lora", "other/base", revision="v7")
    server.repos["other/base"] = safetensors_model(tmp_path / "base")
    with pytest.raises(ModelLoadError, match="other/base has no revision v7"):
        resolve("lora", None, models_dir, hub)


def test_a_gated_base_says_how_to_get_it(server: HubServer, hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    adapter(models_dir / "lora", "other/base")
    server.repos["other/base"] = safetensors_model(tmp_path / "base")
    server.gated.add("other/base")
    with pytest.raises(ModelLoadError, match="other/base is gated"):
        resolve("lora", None, models_dir, hub)


def test_a_base_that_is_no_hub_id_is_not_looked_for_there(hub: Hub, models_dir: Path) -> None:
    adapter(models_dir / "lora", "/home/author/base")
    with pytest.raises(
        ModelLoadError, match=r"^lora is an adapter: put its base model into the folder base/ beside it"
    ):
        resolve("lora", None, models_dir, hub)


@pytest.mark.parametrize("base", [None, "", "..", "/", 7, "x/.."])
def test_an_adapter_that_names_no_base_is_refused(hub: Hub, models_dir: Path, base: object) -> None:
    adapter(models_dir / "lora", base)
    with pytest.raises(ModelLoadError, match=r"adapter_config\.json of lora does not name a base model"):
        resolve("lora", None, models_dir, hub)


def test_a_base_outside_the_models_folder_is_not_followed(hub: Hub, models_dir: Path, tmp_path: Path) -> None:
    outside = safetensors_model(tmp_path / "secret")
    adapter(models_dir / "lora", str(outside))
    with pytest.raises(ModelLoadError, match="put its base model into the folder secret/"):
        resolve("lora", None, models_dir, hub)


def test_the_base_is_checked_too(models_dir: Path) -> None:
    adapter(models_dir / "lora", "org/base")
    (safetensors_model(models_dir / "base") / "modeling.py").write_text("")
    with pytest.raises(ModelLoadError, match="org/base holds Python code"):
        resolve("lora", None, models_dir, None)


def test_an_adapter_over_an_adapter_is_refused(models_dir: Path) -> None:
    adapter(models_dir / "lora", "org/base")
    adapter(models_dir / "base", "org/other")
    with pytest.raises(ModelLoadError, match="org/base, the base model of lora, is an adapter itself"):
        resolve("lora", None, models_dir, None)


def test_a_merged_model_needs_no_base(models_dir: Path) -> None:
    folder = safetensors_model(models_dir / "merged")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    assert resolve("merged", None, models_dir, None) == Checkpoint(folder.resolve())
