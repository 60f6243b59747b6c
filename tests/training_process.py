"""Submits jobs one after the other until it is killed: `python -m tests.training_process MODELS_DIR`.

Prints the id of each job as soon as it has it, as a server would answer it.
"""

import sys
import time
from pathlib import Path

from app.training.jobs import ENDED, RESUMABLE
from app.training.service import Training
from tests.fake_trainer import COMMAND
from tests.training_fakes import FakeServing, submit


def main(models_dir: Path) -> None:
    training = Training.open(models_dir, FakeServing(), "cpu", COMMAND)
    for job in training.jobs():
        if job.status in RESUMABLE:
            training.resume(job.id)
    print("open", flush=True)
    while True:
        name = f"model-{len(training.jobs())}"
        job = submit(training, "a", model_name=name)
        print(job.id, flush=True)
        while training.job(job.id).status not in ENDED:
            time.sleep(0.005)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
