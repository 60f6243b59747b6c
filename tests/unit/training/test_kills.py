"""A process that is killed at random moments loses no job, lists no half of a model, and leaves no trainer behind."""

import random
import subprocess
import sys
import time
from pathlib import Path

from app.settings import REPO
from app.training.jobs import RESUMABLE, JobStatus
from app.training.service import Training
from tests.fake_trainer import COMMAND
from tests.training_fakes import FakeServing, until

N_KILLS = 50
LONGEST_S = 0.8


def killed_after(models_dir: Path, seconds: float) -> list[str]:
    """Ids of jobs that the process said it had, before it was killed so long after it had begun to work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training_process", str(models_dir)], cwd=REPO, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    time.sleep(seconds)
    process.kill()
    ids = process.stdout.read().split()
    process.wait()
    return ids


def test_kills_at_random_moments(models_dir: Path) -> None:
    moments = random.Random(0)
    ids: list[str] = []
    for _ in range(N_KILLS):
        ids += killed_after(models_dir, moments.uniform(0, LONGEST_S))
    training = Training.open(models_dir, FakeServing(), "cpu", COMMAND)
    jobs = {job.id: job for job in training.jobs()}
    print(f"{N_KILLS} kills, {len(jobs)} jobs, {sum(job.status in RESUMABLE for job in jobs.values())} to resume")
    assert set(ids) <= set(jobs)
    for job in jobs.values():
        if job.status in RESUMABLE:
            training.resume(job.id)
    for job in jobs.values():
        assert until(training, job).status is JobStatus.COMPLETED
    served = {config.name for config in training.published.configs()}
    assert served == {job.model_name for job in jobs.values()}
    assert {path.name for path in models_dir.iterdir()} == served | {".training"}
    training.close()
    leftover = subprocess.run(["pgrep", "-f", str(models_dir)], capture_output=True, text=True, check=False)
    assert leftover.stdout == ""
