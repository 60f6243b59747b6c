"""The models file and the variables over it."""

from pathlib import Path

import pytest

from app.core.errors import ModelLoadError
from app.engine.config import ConfigError, ModelConfig, configure, read_models_file, served_name
from app.settings import REPO

E5 = ModelConfig("my-e5", "e5", "intfloat/multilingual-e5-large", device="cuda:1")
BGE = ModelConfig("bge-m3", "bge-m3", "BAAI/bge-m3")
NOWHERE = Path("/nonexistent")


def write(folder: Path, text: str) -> Path:
    path = folder / "models.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["models.toml", "starter.toml", "tests/untrained.toml"])
def test_the_files_in_the_repo_are_valid_and_serve_every_family(name: str) -> None:
    models = read_models_file(REPO / name)
    assert {m.family for m in models} == {"colqwen2.5", "colqwen2", "colpali", "e5", "bge-m3", "dinov3"}
    assert name == "starter.toml" or {m.trained for m in models} == {name == "models.toml"}


@pytest.mark.parametrize("name", ["starter.toml", "tests/untrained.toml"])
def test_untrained_models_say_so_in_their_names(name: str) -> None:
    assert all(("untrained" in model.name) != model.trained for model in read_models_file(REPO / name))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lists no"),
        ("[[model]", "Cannot read"),
        ('[[model]]\nname = "x"\nfamily = "e5"', "number 1: checkpoint: Field required"),
        (
            '[[model]]\nname = "x"\nfamily = "e5"\ncheckpoint = "a"\ncolour = 1',
            "colour: Unexpected keyword",
        ),
        ('[[model]]\nname = "../x"\nfamily = "e5"\ncheckpoint = "a"', "name: String should match pattern"),
        ('[model]\nname = "x"', "lists no"),
        ("model = 3", "lists no"),
        ("model = [3]", "number 1: the entry: "),
        ('[[model]]\nname = 3\nfamily = "e5"\ncheckpoint = "a"', "name: Input should be a valid string"),
        ('[[model]]\nname = "x"\nfamily = ["e5"]\ncheckpoint = "a"', "family: Input should be a valid string"),
        (
            '[[model]]\nname = "x"\nfamily = "e5"\ncheckpoint = "a"\ntrained = "no"',
            "trained: Input should be",
        ),
        ('[[model]]\nname = "x"\nfamily = "e5"\ncheckpoint = "a"\ndtype = "fp16"', "dtype: Input should be 'auto'"),
        ('[[model]]\nname = "x"\nfamily = "e5"\ncheckpoint = "a"\ndevice = "gpu"', "device: String should match"),
        ('[[model]]\nname = "x"\nfamily = "gpt"\ncheckpoint = "a"', "family is one of"),
        ('[[model]]\nname = "x"\nfamily = "e5"\ncheckpoint = "a"\n' * 2, "two models called x"),
    ],
)
def test_a_wrong_models_file_is_a_clear_error(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_models_file(write(tmp_path, text))


def test_without_wishes_the_first_text_model_is_the_default() -> None:
    assert configure([BGE, E5], {}, None, NOWHERE) == ([BGE, E5], "bge-m3")


@pytest.mark.parametrize("wish", ["my-e5", "intfloat/multilingual-e5-large", "intfloat/Multilingual-E5-Large"])
def test_model_name_chooses_a_configured_model_by_name_or_checkpoint(wish: str) -> None:
    assert configure([BGE, E5], {}, wish, NOWHERE) == ([BGE, E5], "my-e5")


def test_model_name_adds_a_model_that_is_not_configured() -> None:
    models, default = configure([E5], {}, "BAAI/bge-m3", NOWHERE)
    assert (models[-1].name, models[-1].family, default) == ("bge-m3", "bge-m3", "bge-m3")


def test_model_name_may_be_a_local_folder_whose_config_tells_the_family(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "xlm-roberta"}', encoding="utf-8")
    (folder / "sparse_linear.safetensors").touch()
    models, _ = configure([E5], {}, "mine", tmp_path)
    assert models[-1].family == "bge-m3"


def test_an_unknown_family_says_which_there_are() -> None:
    with pytest.raises(ModelLoadError, match=r"Supported families: colqwen2\.5, colqwen2, colpali, e5"):
        configure([E5], {}, "someone/something", NOWHERE)


def test_a_family_variable_replaces_the_first_model_of_the_family_and_keeps_its_device() -> None:
    models, _ = configure([E5, BGE], {"e5": "intfloat/multilingual-e5-small"}, None, NOWHERE)
    assert models == [
        ModelConfig("multilingual-e5-small", "e5", "intfloat/multilingual-e5-small", device="cuda:1"),
        BGE,
    ]


def test_a_family_variable_adds_a_model_where_the_family_is_not_configured() -> None:
    models, _ = configure([E5], {"colpali": "vidore/colpali-v1.2"}, None, NOWHERE)
    assert [model.name for model in models] == ["my-e5", "colpali-v1.2"]


def test_two_models_never_share_a_name() -> None:
    models, default = configure([BGE], {}, "other/bge-m3", NOWHERE)
    assert [model.name for model in models] == ["bge-m3", "bge-m3-2"]
    assert default == "bge-m3-2"


@pytest.mark.parametrize(
    ("checkpoint", "name"),
    [("vidore/ColQwen2.5-v0.2", "colqwen2.5-v0.2"), ("../..", "model"), ("a/B c!", "b-c-"), ("x" * 99, "x" * 64)],
)
def test_served_names_are_safe(checkpoint: str, name: str) -> None:
    assert served_name(checkpoint) == name
