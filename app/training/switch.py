"""Whether this server fine-tunes, and if not, why."""

import logging
from collections.abc import Sequence
from pathlib import Path

from app.core.errors import BadInputError, ManyvecError
from app.training.admission import Serving
from app.training.service import Training

log = logging.getLogger(__name__)


class TrainingSwitch:
    """Fine-tuning, or why there is none."""

    def __init__(self) -> None:
        self._training: Training | None = None
        self._problem: ManyvecError = BadInputError(
            "Fine-tuning is switched off on this server; TRAINING=true switches it on."
        )

    @property
    def training(self) -> Training:
        """Raises the `ManyvecError` that says why there is none."""
        if self._training is None:
            raise self._problem
        return self._training

    def open(
        self, models_dir: Path, serving: Serving, device: str, trainer: Sequence[str], max_pending: int | None = None
    ) -> None:
        """Switch it on if the models folder allows it. Arguments as `Training.open`."""
        try:
            self._training = Training.open(models_dir, serving, device, trainer, max_pending=max_pending)
        except ManyvecError as error:
            log.warning("no fine-tuning: %s", error.message)
            self._problem = error

    def stop(self) -> None:
        """End what runs; jobs can still be looked at."""
        if self._training is not None:
            self._training.stop()

    def close(self) -> None:
        if self._training is not None:
            self._training.close()
