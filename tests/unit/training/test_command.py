"""`python -m app train`, with a trainer that only pretends."""

import argparse
import json
import time
from pathlib import Path

import pytest

from app.core.errors import BadInputError, ManyvecError
from app.engine.config import ModelConfig
from app.families.base import Checkpoint
from app.settings import Settings
from app.training.command import LocalServing, train
from app.training.flags import add_arguments, in_flags
from app.training.jobs import JobStatus
from app.training.published import published_models
from app.training.service import Training
from tests.fake_trainer import COMMAND
from tests.training_fakes import FakeServing, submit, until


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
        (("{pairs}", "--model-name", "../x"), "--model-name is"),
        (("{pairs}", "--model-name", "base"), "choose another --model-name or send --overwrite"),
        (("{pairs}", "--model-name", "x", "--qlora"), "Use LoRA with --lora instead"),
        (("{one}", "--model-name", "x"), "two different queries"),
        (("{pairs}", "--model-name", "x", "--batch-size", "1"), "--batch-size"),
        (("{pairs}", "--model-name", "x", "--base-model", "nope"), "Models of the models file: base, pages"),
        (("missing.jsonl", "--model-name", "x", "--base-model", "base"), "no file"),
        (("{pairs}", "--model-name", "x", "--base-model", "pages"), "name another --base-model"),
        (("--resume", "nope"), "Jobs that can be resumed: none"),
    ],
)
def test_mistakes_say_what_to_change(models_dir: Path, pairs: str, arguments: tuple[str, ...], says: str) -> None:
    one = Path(pairs).with_name("one.tsv")
    one.write_text("a\tb\n")
    with pytest.raises(ManyvecError) as error:
        run(models_dir, *(argument.format(pairs=pairs, one=one) for argument in arguments))
    assert says in error.value.message


def test_a_failure_has_its_reason(models_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "fail.tsv"
    file.write_text("fail\tb\nc\td\n")
    with pytest.raises(BadInputError) as error:
        run(models_dir, str(file), "--model-name", "x")
    assert "lower the --learning-rate" in error.value.message


def test_beside_a_server_it_says_who_has_the_folder(models_dir: Path, pairs: str) -> None:
    server = Training.open(models_dir, FakeServing(), "cpu", COMMAND)
    with pytest.raises(ManyvecError, match="Another process fine-tunes"):
        run(models_dir, pairs, "--model-name", "x")
    server.close()


def test_ctrl_c_cancels_the_job_and_says_how_it_goes_on(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wait.tsv"
    file.write_text("wait\tb\nc\td\n")
    looks: list[str] = []

    def look(_seconds: float) -> None:
        time.sleep(0.02)
        if "checkpoint-1" in str(list(models_dir.rglob("checkpoint-*"))):
            looks.append("now")
            raise KeyboardInterrupt

    monkeypatch.setattr("app.training.command.sleep", look)
    with pytest.raises(KeyboardInterrupt):
        run(models_dir, str(file), "--model-name", "mine")
    training = Training.open(models_dir, FakeServing(), "cpu", COMMAND)
    (job,) = training.jobs()
    training.close()
    assert looks == ["now"]
    assert job.status is JobStatus.CANCELLED
    assert f"python -m app train --resume {job.id}" in capsys.readouterr().err
    with pytest.raises(BadInputError, match=rf"resumed: {job.id} \(mine\)"):
        run(models_dir, "--resume", "nope")
    monkeypatch.undo()
    (tmp_path / "models" / ".training" / "jobs" / job.id / "dataset.jsonl").write_text('{"query": "a"}')
    run(models_dir, "--resume", job.id)
    assert "Served as mine." in capsys.readouterr().out


def test_jobs_of_a_server_are_left_to_it(models_dir: Path, pairs: str, capsys: pytest.CaptureFixture[str]) -> None:
    server = Training.open(models_dir, FakeServing(), "cpu", COMMAND)
    submit(server, "wait")
    others = submit(server, model_name="others")
    server.close()
    run(models_dir, pairs, "--model-name", "own")
    assert "left to it: 1." in capsys.readouterr().err
    assert [config.name for config in published_models(models_dir).configs()] == ["own"]
    server = Training.open(models_dir, FakeServing(), "cpu", COMMAND)
    assert until(server, others).status is JobStatus.COMPLETED
    server.close()


def test_hints_are_flags() -> None:
    says = "Choose another model_name, send `merge: true`, or lower the mini_batch_size; a base and epochs stay words."
    wanted = "Choose another --model-name, send --merge, or lower the --mini-batch-size; a base and epochs stay words."
    assert in_flags(says) == wanted
    assert in_flags(wanted) == wanted
