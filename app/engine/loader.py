"""From a configured name to a model in service: find the files, import the family, read the weights."""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from PIL import Image

from app.core.errors import ManyvecError, ModelLoadError, OutOfMemoryError
from app.core.imports import heavy_import, lasting_imports
from app.core.types import ImageInput, Modality, Output, TextInput
from app.engine.config import ModelConfig
from app.engine.lane import PrepareThreads
from app.engine.metrics import EngineMetrics
from app.engine.model_runner import ModelRunner, RunnerLimits
from app.families.adapter_files import base_key, shared_part
from app.families.base import Checkpoint, EmbeddingModel, LoadOptions, Prepared
from app.families.catalog import load_class
from app.families.shared_bases import SharedBases

log = logging.getLogger(__name__)

WARM_UP_SIDE = 64
"""Pixels."""
WARM_UP_TOKENS = 8192
"""Of the large batch: as many rows as compiled code is for, and more."""

BYTES_A_NUMBER = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 4}
"""Of weights while they are loaded; int8 is made of float32."""


class CheckpointLoader:
    """Loads checkpoints of the families in the catalog."""

    def __init__(
        self,
        resolve: Callable[[ModelConfig], Checkpoint],
        *,
        device: str,
        dtype: str,
        limits: RunnerLimits,
        threads: PrepareThreads,
    ) -> None:
        self._resolve = resolve
        self._device = device
        self._dtype = dtype
        self._limits = limits
        self._threads = threads
        self._bases = SharedBases()
        # transformers imports its modules on first use, in circles that two threads at once find half done,
        # and sets torch's process-wide default dtype while it builds a model.
        self._one_at_a_time = threading.Lock()

    def fetch(self, config: ModelConfig) -> Checkpoint:
        """Find the checkpoint on disk; download it if it is not there."""
        with _load_errors(config):
            return self._resolve(config)

    def load(self, config: ModelConfig, checkpoint: Checkpoint, metrics: EngineMetrics) -> ModelRunner:
        """Read it into memory and start its workers."""
        with _load_errors(config), self._one_at_a_time, lasting_imports():
            model = load_class(config.spec).load(checkpoint, self._options(config))
            warm_up(model)
        return ModelRunner(config.name, model, self._limits, self._threads, metrics)

    def memory_needed(self, config: ModelConfig, checkpoint: Checkpoint) -> int:
        """Bytes of all weights in the dtype they will have, but those that are in memory for another model."""
        with _load_errors(config):
            options = self._options(config)
            part = shared_part(checkpoint, options)
            is_loaded = base_key(config.family, part, options) in self._bases
            folders = {checkpoint.path, checkpoint.base} - ({part.path, part.base} if is_loaded else {None})
            files = (file for folder in folders if folder for file in folder.glob("*.safetensors"))
            return sum(map(_n_numbers, files)) * _bytes_a_number(config, options)

    def _options(self, config: ModelConfig) -> LoadOptions:
        device = resolve_device(config.device or self._device)
        dtype = resolve_dtype(config.dtype or self._dtype, device)
        return LoadOptions(device=device, dtype=dtype, backend=config.backend, bases=self._bases)


def warm_up(model: EmbeddingModel) -> None:
    """Compute something small of every kind, so that no request pays for what is made at first use.

    On a GPU also on a stream as queries have it, since graphs are recorded for each, and in a large batch, for which
    code is compiled (`app.families.fused`). A checkpoint that loads but cannot compute fails here, too.
    """
    for item in _smallest_inputs(model):
        model.encode([item])
        if model.info.device.startswith("cuda"):
            with model.computing(urgent=True):
                model.encode([item])
            with suppress(OutOfMemoryError):
                model.encode([item] * (WARM_UP_TOKENS // item.n_tokens))


def _smallest_inputs(model: EmbeddingModel) -> Iterator[Prepared]:
    if outputs := frozenset(output for output in Output if model.spec.can(Modality.TEXT, output)):
        yield model.prepare_text(TextInput("warm-up", outputs=outputs))
    if outputs := frozenset(output for output in Output if model.spec.can(Modality.IMAGE, output)):
        image = Image.new("RGB", (WARM_UP_SIDE, WARM_UP_SIDE))
        yield model.prepare_image(ImageInput(b"", outputs=outputs), image)


@contextmanager
def _load_errors(config: ModelConfig) -> Iterator[None]:
    """Whatever else goes wrong becomes a `ModelLoadError`, with the details in the log."""
    try:
        yield
    except ManyvecError:
        raise
    except Exception as error:
        log.exception("cannot load %s", config.name)
        raise ModelLoadError(
            f"The model {config.name} could not be loaded as one of the family {config.family}: "
            f"{type(error).__name__}. The server's log says more."
        ) from None


@cache
def resolve_device(wish: str) -> str:
    """`auto` becomes the first GPU that torch can use, else `cpu`. Imports torch."""
    if wish != "auto":
        return wish
    with heavy_import():
        import torch

    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_dtype(wish: str, device: str) -> str:
    """`auto` becomes `bfloat16` on an NVIDIA GPU and `float32` elsewhere."""
    if wish != "auto":
        return wish
    return "bfloat16" if device.startswith("cuda") else "float32"


def _bytes_a_number(config: ModelConfig, options: LoadOptions) -> int:
    """Of weights while they are loaded."""
    # OpenVINO makes bfloat16 of float32; it is what computes a text model in it unless the processor cannot.
    by_openvino = options.device == "cpu" and "openvino" in config.spec.backends and options.backend != "torch"
    return BYTES_A_NUMBER["float32" if by_openvino and options.dtype == "bfloat16" else options.dtype]


def _n_numbers(file: Path) -> int:
    """Count of numbers in a safetensors file, from its header alone."""
    from safetensors import safe_open

    with safe_open(file, framework="np") as tensors:
        return sum(math.prod(tensors.get_slice(key).get_shape()) for key in tensors.keys())  # noqa: SIM118
