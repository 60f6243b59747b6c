"""`python -m app train`, with a trainer that only pretends."""

import argparse
import json
from pathlib import Path

import pytest

from app.core.errors import BadInputError, ManyvecError
from app.engine.config import ModelConfig
from app.families.base import Checkpoint
from app.settings import Settings
from app.training.command import LocalServing, add_arguments, train
from app.training.published import published_models
from app.training.service import Training
from tests.fake_trainer import COMMAND
from tests.training_fakes import FakeServing


def run(models_dir: Path, *arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    serving = LocalServing(
        [ModelConfig("base", "e5", "base"), ModelConfig("pages", "colpali", "pages")],
        lambda _config: Checkpoint(Path()),
    )
    train(parser.parse_args(arguments), Settings.model_construct(models_dir=models_dir), serving, COMMAND)


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    file = tmp_path / "pairs.tsv"
    file.write_text("a\tb\nc\td\n")
    return str(file)


def test_a_file_becomes_a_model(models_dir: Path, pairs: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(models_dir, pairs, "--model-name", "mine", "--lora", "--r", "4", "--epochs", "2")
    printed = capsys.readouterr()
    assert "after: recall@1 0.9" in printed.out
    assert "Served as mine." in printed.out
    assert "100" in printed.err
    record = json.loads((models_dir / "mine" / "training.json").read_text())
    assert (record["method"], record["options"]["r"], record["options"]["epochs"]) == ("lora", 4, 2)
    assert [config.name for config in published_models(models_dir).configs()] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Name a file of pairs and a --model-name"),
        (("{pairs}",), "--model-name"),
        (("missing.tsv", "--model-name", "x"), "cannot be read"),
        (("missing.jsonl", "--model-name", "x"), "no file"),
        (("{pairs}", "--model-name", "../x"), "model_name is"),
        (("{pairs}", "--model-name", "x", "--batch-size", "1"), "--batch-size"),
        (("{pairs}", "--model-name", "x", "--base-model", "nope"), "Models of the models file: base, pages"),
        (("missing.jsonl", "--model-name", "x", "--base-model", "base"), "no file"),
        (("{pairs}", "--model-name", "x", "--base-model", "pages"), "name another --base-model"),
        (("--resume", "nope"), "no training job"),
    ],
)
def test_mistakes_say_what_to_change(models_dir: Path, pairs: str, arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(ManyvecError, match=says):
        run(models_dir, *(argument.format(pairs=pairs) for argument in arguments))


def test_a_failure_has_its_reason(models_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "fail.tsv"
    file.write_text("fail\tb\n")
    with pytest.raises(BadInputError, match="lower the learning_rate"):
        run(models_dir, str(file), "--model-name", "x")


def test_beside_a_server_it_says_who_has_the_folder(models_dir: Path, pairs: str) -> None:
    server = Training.open(models_dir, FakeServing(), "cpu", COMMAND)
    with pytest.raises(ManyvecError, match="Another process fine-tunes"):
        run(models_dir, pairs, "--model-name", "x")
    server.close()
