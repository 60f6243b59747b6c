"""A trainer that learns nothing: it does what the job's first query says, in the steps of a real one.

`PYTHONPATH=. python -m tests.fake_trainer JOB_FOLDER`. Its result is a copy of the base checkpoint, if there is one.
"""

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

from app.training.task import CHECKPOINTS, DATASET_FILE, RESULT, Progress, Reporter, TrainingTask

N_STEPS = 5
COMMAND = (sys.executable, "-m", "tests.fake_trainer")


def main(folder: Path) -> int:
    """`fail`: the training fails. `die`: the process does. `wait`: it lasts until it is killed."""
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    reporter = Reporter(sys.stdout)
    task = TrainingTask.read(folder)
    first = json.loads((folder / DATASET_FILE).read_text().splitlines()[0])["query"]
    print(f"learning {task.model_name}", file=sys.stderr, flush=True)
    reporter.evaluation("before", {"recall@1": 0.1})
    for step in range(_resumed(folder) + 1, N_STEPS + 1):
        reporter.progress(Progress(step, N_STEPS, step / N_STEPS, 1 / step, 1e-3, 10.0, 0.0))
        (folder / CHECKPOINTS / f"checkpoint-{step}").mkdir(parents=True)
        reporter.checkpoint(step)
        if first == "fail":
            reporter.failed("The loss is no number; lower the learning_rate.")
            return 1
        if first == "die":
            return 3
        if first == "wait":
            time.sleep(600)
    reporter.evaluation("after", {"recall@1": 0.9})
    partial = folder / ".result"
    shutil.copytree(task.base_path, partial) if task.base_path != Path() else partial.mkdir()
    partial.rename(folder / RESULT)
    reporter.finished()
    return 0


def _resumed(folder: Path) -> int:
    steps = [int(path.name.rpartition("-")[2]) for path in (folder / CHECKPOINTS).glob("*")]
    return max(steps, default=0)


def _end_with_the_server() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
