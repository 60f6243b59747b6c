"""Q-LoRA: whether this machine can do it, and the base in 4 bits. torch is imported only where it is needed."""

from importlib.util import find_spec
from typing import Any

MIN_CAPABILITY = (7, 5)
"""Of CUDA devices: Turing, the oldest that bitsandbytes' 4-bit kernels are made for."""
INSTEAD = "Use LoRA with `use_qlora: false` instead."


def qlora_problem(device: str) -> str | None:
    """None if Q-LoRA runs on `device` (`cpu`, `cuda:0`, ...); else one sentence why not, and what to use."""
    if not device.startswith("cuda"):
        return f"Q-LoRA needs an NVIDIA GPU, and models are trained on {device} here. {INSTEAD}"
    if find_spec("bitsandbytes") is None:
        return f"Q-LoRA needs the package bitsandbytes, which is not installed here. {INSTEAD}"
    return _cuda_problem(device)


def quantization() -> Any:
    """4-bit NF4 with quantized constants, computed with in bfloat16, in float16 where the device lacks it.

    Dettmers et al., arXiv:2305.14314.
    """
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16,
    )


def _cuda_problem(device: str) -> str | None:
    import torch

    if not torch.cuda.is_available():
        return f"Q-LoRA needs an NVIDIA GPU, and torch finds none here. {INSTEAD}"
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < MIN_CAPABILITY:
        return f"Q-LoRA needs a GPU of compute capability 7.5, and this one has {major}.{minor}. {INSTEAD}"
    return None
