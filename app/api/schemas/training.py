"""Fine-tuning jobs."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.api.schemas.common import Body, FormText, ModelChoice, UploadedFile, examples
from app.training.jobs import JobStatus
from app.training.options import LoraOptions, Method, TrainingOptions

LONGEST_NAME = 40
"""Of a field that is not known, to be repeated."""

EXAMPLE_PAIRS = "how tall is the tower\tThe tower is 324 metres high.\nwho built the tower\tGustave Eiffel's company.\n"


class NewModel(Body):
    """The model that a job makes. An unknown field is an error: its default would be trained with for hours."""

    model_config = ConfigDict(extra="forbid")

    model_name: FormText = Field(description="Name under which the result is served, and its folder's name.")
    base_model: str | None = Field(
        None, description="Served name or checkpoint id of the model that is trained further; default: the route's."
    )
    overwrite: bool = Field(False, description="Let the result take the place of a model that has this name.")

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, sent: Any) -> Any:
        """Name the fields that are not known, and those that may be meant."""
        names = [str(name) for name in sent] if isinstance(sent, Mapping) else []
        if unknown := [name for name in names if name not in cls.model_fields]:
            raise ValidationError.from_exception_data(cls.__name__, [_unknown(name, cls) for name in unknown])
        return sent


def _unknown(name: str, kind: type[NewModel]) -> InitErrorDetails:
    """What to say of a field; only what looks like the name of one is repeated."""
    says = "There is no such field"
    if near := get_close_matches(name.lower().replace("-", "_"), kind.model_fields, 1):
        says = f"{says}; {near[0]} may be meant"
    elif name in FineTuneLoraRequest.model_fields:
        says = f"{says}, it is one of /fine-tune-lora"
    place = name if name.isidentifier() and len(name) <= LONGEST_NAME else "unknown_field"
    return InitErrorDetails(type=PydanticCustomError("unknown_field", says), loc=(place,), input=None)


class TextPairsRequest(ModelChoice, NewModel):
    """Pairs of texts."""

    text_content: str = Field(description="A line for each pair: query, tab, passage that answers it.")
    hard_negatives: bool = Field(
        False, description="Lines have a third part: a passage that looks right and does not answer the query."
    )


class FineTuneRequest(TextPairsRequest, TrainingOptions):
    """Train every weight."""

    model_config = examples({"text_content": EXAMPLE_PAIRS, "model_name": "my-model"})


class FineTuneLoraRequest(TextPairsRequest, TrainingOptions, LoraOptions):
    """Train low-rank matrices."""

    model_config = examples({"text_content": EXAMPLE_PAIRS, "model_name": "my-adapter", "use_qlora": False})

    use_qlora: bool = Field(True, description="Keep the base in 4 bits while training; needs an NVIDIA GPU.")


class FineTuneVisualForm(NewModel, TrainingOptions, LoraOptions):
    """Pairs of page and query, and the options of LoRA."""

    dataset: UploadedFile = Field(
        description='JSONL, `{"query": "...", "image": "base64"}` a line, or a Parquet file with these columns.'
    )
    model: FormText | None = Field(None, description="The same as `base_model`.")
    use_qlora: bool = Field(False, description="Keep the base in 4 bits while training; needs an NVIDIA GPU.")


class JobStarted(Body):
    """A job that is on the disk."""

    job_id: str
    status: JobStatus


class LoraJobStarted(JobStarted):
    """A LoRA job that is on the disk."""

    type: Literal["lora"] = "lora"


class TrainStatus(Body):
    """Where a job is."""

    status: JobStatus
    progress: float = Field(description="Percent of the steps, 0 to 100.")
    message: str
    error: str | None = Field(description="Why it failed, and what to do.")
    steps: int = Field(description="Optimizer steps made.")
    epoch: float = Field(description="Passes over the training pairs made.")


class TrainingJob(TrainStatus):
    """All that is known of a job."""

    id: str
    model_name: str
    base_model: str
    family: str
    method: Method
    n_pairs: int
    n_ignored: int = Field(description="Lines of the dataset that are no pairs.")
    dataset_sha256: str
    dataset_deleted: bool
    n_steps: int | None = Field(description="Steps that it takes in all.")
    loss: float | None = Field(description="Mean over the last steps.")
    learning_rate: float | None
    examples_per_second: float | None
    seconds_left: float | None
    figures: dict[str, dict[str, float]] = Field(
        description="`before` and `after`, on the held-out pairs: `loss`, `ndcg@10`, `recall@1`, `n_pairs`."
    )
    created_at: float = Field(description="Seconds since 1970, as all times here.")
    started_at: float | None
    finished_at: float | None


class TrainingJobList(Body):
    """All jobs, oldest first."""

    object: Literal["list"] = "list"
    data: list[TrainingJob]


class Deleted(Body):
    """What is gone."""

    id: str
    deleted: Literal[True] = True
