"""Where jobs keep their files: `MODELS_DIR/.training/`."""

import shutil
from pathlib import Path

from app.training.jobs import Job
from app.training.published import PublishedModels
from app.training.task import CHECKPOINTS, DATASET_FILE, LOG_FILE, RESULT

IMAGES = "images"


class JobFolders:
    """A folder a job."""

    def __init__(self, root: Path, published: PublishedModels) -> None:
        self._root = root
        self._published = published

    def create(self, job_id: str) -> Path:
        folder = self.of(job_id)
        folder.mkdir(parents=True)
        return folder

    def of(self, job_id: str) -> Path:
        return self._root / job_id

    def result(self, job_id: str) -> Path:
        return self.of(job_id) / RESULT

    def has_result(self, job_id: str) -> bool:
        """True if the finished checkpoint waits for its publication: it is put there whole."""
        return self.result(job_id).is_dir()

    def is_published(self, job: Job) -> bool:
        """True if the model that is served under the job's name is its result."""
        record = self._published.record(job.model_name)
        return record is not None and record.job_id == job.id

    def log(self, job_id: str) -> str:
        """What the trainer printed."""
        file = self.of(job_id) / LOG_FILE
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        # A client need not learn where on the disk the models lie.
        return text.replace(f"{self._root.parents[1].resolve()}/", "")

    def delete_dataset(self, job_id: str) -> None:
        (self.of(job_id) / DATASET_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.of(job_id) / IMAGES, ignore_errors=True)

    def delete_checkpoints(self, job_id: str) -> None:
        shutil.rmtree(self.of(job_id) / CHECKPOINTS, ignore_errors=True)

    def delete(self, job_id: str) -> None:
        shutil.rmtree(self.of(job_id), ignore_errors=True)

    def sweep(self, known: set[str]) -> None:
        """Delete folders of no job: their request ended before the job was stored."""
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
