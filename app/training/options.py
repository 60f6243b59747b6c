"""What may be chosen about a training."""

import math
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

LEARNING_RATES = {"full": 2e-5, "lora": 2e-4, "qlora": 2e-4}
"""Unless one is asked for."""


class Method(StrEnum):
    """What is trained."""

    FULL = "full"
    """Every weight."""
    LORA = "lora"
    """Low-rank matrices beside the frozen weights (Hu et al., arXiv:2106.09685)."""
    QLORA = "qlora"
    """The same over weights in 4-bit NF4 (Dettmers et al., arXiv:2305.14314)."""


class TrainingOptions(BaseModel):
    """Of every method and family."""

    model_config = ConfigDict(allow_inf_nan=False, protected_namespaces=())

    epochs: float = Field(3, gt=0, le=1000, description="Passes over the training pairs.")
    batch_size: int = Field(
        32,
        ge=2,
        le=4096,
        description="Pairs a step. The others' passages are each query's negatives: the more, the better it learns.",
    )
    mini_batch_size: int = Field(
        8, ge=1, le=4096, description="Pairs that are in memory at once; does not change the result."
    )
    learning_rate: float | None = Field(
        None, gt=0, le=1, description="Its peak. Default: 2e-5 for full fine-tuning, 2e-4 for LoRA."
    )
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="Share of the steps in which the learning rate rises.")
    max_seq_length: int | None = Field(
        None,
        ge=8,
        le=8192,
        description="Tokens of a text read in training. Default: 256, or the model's limit.",
    )
    seed: int = Field(42, ge=0, lt=2**32, description="Of the order of pairs, dropout and new matrices.")
    eval_fraction: float = Field(
        0.1, ge=0, le=0.5, description="Share of the pairs that is held out and measured before and after."
    )
    train_heads: bool = Field(
        False,
        description="BGE-M3: train the sparse and ColBERT heads along, with self-distillation. "
        "False: they are carried over unchanged.",
    )

    def batch_of(self, n_pairs: int) -> int:
        """Pairs a step, where there are so many in all."""
        return min(self.batch_size, n_pairs)

    def drops_last(self, n_pairs: int) -> bool:
        """True if an epoch's last batch would be a pair alone: it has no negatives, so nothing is learned from it."""
        return n_pairs % self.batch_of(n_pairs) == 1

    def warmup_steps(self, n_pairs: int) -> int:
        """Steps in which the learning rate rises: rounded up as transformers does it, but never all of them.

        The first of them has the rate 0, so that a training of one step would change nothing.
        """
        n_batches = math.ceil((n_pairs - self.drops_last(n_pairs)) / self.batch_of(n_pairs))
        n_steps = math.ceil(n_batches * self.epochs)
        return min(math.ceil(self.warmup_ratio * n_steps), n_steps - 1)


class LoraOptions(BaseModel):
    """Of LoRA and Q-LoRA."""

    model_config = ConfigDict(allow_inf_nan=False, protected_namespaces=())

    r: int = Field(16, ge=1, le=512, description="Rank of the matrices.")
    lora_alpha: float = Field(32, gt=0, le=4096, description="Their product is multiplied by `lora_alpha / r`.")
    lora_dropout: float = Field(0.05, ge=0, lt=1, description="Share of their inputs that is dropped in training.")
    merge: bool = Field(
        False, description="Write a whole checkpoint in which the adapter is merged, rather than the adapter alone."
    )
