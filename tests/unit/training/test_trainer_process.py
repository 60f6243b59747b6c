"""The trainer as the process that the server starts: its messages, kills, resumption and the ways it fails."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from app.settings import REPO
from app.starter.text import build_e5
from app.training import trainer
from app.training.options import LoraOptions, TrainingOptions
from app.training.task import CHECKPOINTS, DATASET_FILE, RESULT, TrainingFailedError
from app.training.text import train_texts
from app.training.whole import PARTIAL, is_whole, writing
from tests.unit.training.code_words import Recorder, write_task

TRAINER = [sys.executable, "-m", "app.training.trainer"]
SAVING_EVERY_STEP = [
    sys.executable,
    "-c",
    "import sys; from app.training import resumable as r; r.CHECKPOINT_INTERVAL_S = 0; r.SAVING_SHARE = 1e9;"
    "from app.training.trainer import main; sys.exit(main(sys.argv[1:]))",
]
OPTIONS = TrainingOptions(epochs=2.5, batch_size=32, mini_batch_size=16, learning_rate=1e-3)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained E5 with dropout."""
    folder = tmp_path_factory.mktemp("base")
    build_e5(folder)
    return folder


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPO,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            pipe.close()


def until(process: subprocess.Popen[str], event: str, step: int = 0) -> dict[str, object]:
    """The first such message of this step or a later one."""
    assert process.stdout is not None
    for line in process.stdout:
        message = json.loads(line)
        if message["event"] == event and message.get("step", 0) >= step:
            return dict(message)
    raise AssertionError(f"It ended without the message {event}.")


@pytest.mark.parametrize("lora", [None, LoraOptions(r=4)], ids=["full", "lora"])
def test_goes_on_after_a_kill_as_if_there_had_been_none(tmp_path: Path, base: Path, lora: LoraOptions | None) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    recorder = Recorder()
    train_texts(write_task(unbroken, "e5", base, OPTIONS, lora), unbroken, recorder)
    task = write_task(killed, "e5", base, OPTIONS, lora)
    with started(SAVING_EVERY_STEP, killed) as process:
        until(process, "checkpoint", step=9)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (killed / RESULT).exists()
    _break_newest_checkpoint(killed)
    resumed = Recorder()
    train_texts(task, killed, resumed)
    assert any("going on from step" in message["message"] for message in resumed.of("stage"))
    name = "model.safetensors" if lora is None else "adapter_model.safetensors"
    first, second = load_file(unbroken / RESULT / name), load_file(killed / RESULT / name)
    difference = max(float((first[key] - second[key]).abs().max()) for key in first)
    print(f"largest difference {difference:.2e}; after {recorder.figures('after')}, {resumed.figures('after')}")
    assert difference < 1e-6
    assert resumed.figures("after")["loss"] == pytest.approx(recorder.figures("after")["loss"], abs=1e-6)


def test_speaks_to_the_server_and_ends_with_it(tmp_path: Path, base: Path) -> None:
    """Only messages on standard output; at the end of standard input it ends; started again it finishes."""
    write_task(tmp_path, "e5", base, OPTIONS)
    with started(TRAINER, tmp_path) as process:
        until(process, "stage")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=20) == 1
    (tmp_path / f".{RESULT}{PARTIAL}").mkdir()
    with started(TRAINER, tmp_path) as process:
        until(process, "finished")
        assert process.wait(timeout=20) == 0
    assert is_whole(tmp_path / RESULT)
    assert not (tmp_path / f".{RESULT}{PARTIAL}").exists()
    assert not (tmp_path / CHECKPOINTS).exists()


def test_result_that_is_whole_is_not_made_again(tmp_path: Path) -> None:
    with writing(tmp_path / RESULT) as folder:
        (folder / "model.safetensors").write_bytes(b"weights")
    reported = Recorder()
    assert trainer.run(tmp_path, reported) == 0
    assert reported.messages == [{"event": "finished"}]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Line 3 of the dataset is no JSON"),
        ('{"query": "tram"}', "Line 3 of the dataset has no text as its positive"),
        ('{"query": " ", "positive": "river"}', "Line 3 of the dataset has no text as its query"),
        ('{"query": "tram", "positive": "river", "negative": "garden"}', "hard negative"),
    ],
)
def test_broken_dataset_says_what_to_change(
    tmp_path: Path, base: Path, line: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "set_environment", lambda device: None)
    write_task(tmp_path, "e5", base, OPTIONS)
    lines = (tmp_path / DATASET_FILE).read_text().splitlines()
    lines[2] = line
    (tmp_path / DATASET_FILE).write_text("\n".join(lines))
    reported = Recorder()
    assert trainer.run(tmp_path, reported) == 1
    assert reason in reported.of("failed")[0]["reason"]
    assert not (tmp_path / RESULT).exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "lower mini_batch_size or max_seq_length"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "mini_batch_size"),
        (MemoryError(), "mini_batch_size"),
        (OSError(errno.ENOSPC, "No space left on device", "/secret/path"), "The disk is full"),
        (TrainingFailedError("Lower the learning_rate."), "Lower the learning_rate."),
        (KeyError("/secret/path"), "unexpected error (KeyError)"),
    ],
)
def test_reasons_say_what_to_do(error: Exception, reason: str) -> None:
    assert reason in trainer.reason_of(error)
    assert "secret" not in trainer.reason_of(error)


def test_only_the_chosen_device_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.os, "environ", {"CUDA_VISIBLE_DEVICES": "3,5"})
    trainer.set_environment("cuda:1")
    assert trainer.os.environ["CUDA_VISIBLE_DEVICES"] == "5"
    trainer.set_environment("cpu")
    assert trainer.os.environ["CUDA_VISIBLE_DEVICES"] == ""
    trainer.set_environment("cuda")
    assert trainer.os.environ["CUDA_VISIBLE_DEVICES"] == "0"


def _break_newest_checkpoint(folder: Path) -> None:
    """As if the disk had lost a part of it."""
    newest = max((folder / CHECKPOINTS).glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    with (newest / "optimizer.pt").open("r+b") as file:
        file.truncate(1000)
