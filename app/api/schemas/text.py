"""Texts: dense, hybrid, rerank."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from app.api.schemas.common import Body, ModelChoice, Strings, examples
from app.api.schemas.options import AnyRows, AnyVector, TextRowOptions, Truncation, VectorOptions
from app.api.tensors import ById
from app.core.errors import BadInputError


class TextItem(Body):
    """A text with the client's own id."""

    id: str | int
    text: str


class Items:
    """Texts of a batch, and their ids if the client sent any."""

    def __init__(self, texts: Sequence[str], ids: Sequence[str] | None = None) -> None:
        self.texts = texts
        self.ids = ids

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From `[text]`, `{id: text}` or `[{"id", "text"}]`. Raises `BadInputError` for ids that come twice."""
        if isinstance(value, dict):
            return cls._keyed(list(value.items()))
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return cls._keyed([_id_and_text(item) for item in value])
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return cls(value)
        raise _bad_items()

    @classmethod
    def _keyed(cls, pairs: Sequence[tuple[str, Any]]) -> Self:
        if not all(isinstance(text, str) for _, text in pairs):
            raise _bad_items()
        ids = [key for key, _ in pairs]
        if len(set(ids)) < len(ids):
            raise BadInputError("An id occurs twice in `items`; ids must be unique.")
        return cls([text for _, text in pairs], ids)

    @staticmethod
    def label(index: int) -> str:
        """What errors call a text; ids are the client's own words and not repeated."""
        return f"items[{index}]"

    def keyed(self, results: Sequence[Any]) -> ById | Sequence[Any]:
        """`results` in the shape that the request had: by id, or as a list."""
        return results if self.ids is None else ById(zip(self.ids, results, strict=True))


def _id_and_text(item: Any) -> tuple[str, Any]:
    if not isinstance(item, dict) or isinstance(item.get("id"), bool) or not isinstance(item.get("id"), str | int):
        raise _bad_items()
    return str(item["id"]), item.get("text")


def _bad_items() -> PydanticCustomError:
    return PydanticCustomError("items", 'Send a list of texts, an object of id to text, or a list of {"id", "text"}')


ItemsField = Annotated[
    Items, PlainValidator(Items.parse, json_schema_input_type=list[str] | dict[str, str] | list[TextItem])
]


class VectorizeRequest(VectorOptions, Truncation, ModelChoice):
    """One text."""

    model_config = examples({"text": "How tall is Mount Everest?", "is_query": True})

    text: str
    is_query: bool = Field(True, description="False for a text that is to be found: it gets the passage prefix.")


class VectorResponse(Body):
    """One dense vector."""

    vector: AnyVector


class VectorizeBatchRequest(VectorOptions, Truncation, ModelChoice):
    """Many texts."""

    model_config = examples({"items": ["Mount Everest is 8849 m tall.", "K2 is 8611 m tall."], "is_query": False})

    items: ItemsField
    is_query: bool = Field(False, description="True for search texts: they get the query prefix.")


class VectorsResponse(Body):
    """One dense vector for each text: a list, or by id if the request came with ids."""

    vectors: list[AnyVector] | dict[str, AnyVector]


OVERTAKES = "True for search texts: a few of them overtake texts that are to be found. Their vectors are the same."


class HybridOptions(TextRowOptions, Truncation, ModelChoice):
    """What the hybrid vectors are to hold."""

    return_colbert: bool = Field(False, description="Add one vector a token.")
    return_tokens: bool = Field(False, description="Add the tokens that the text was read as, in its order.")
    sparse_keys: Literal["token", "id"] = Field(
        "token", description="Keys of the sparse weights: the tokens' text, or their ids in the vocabulary."
    )


class VectorizeHybridRequest(HybridOptions):
    """One text."""

    model_config = examples({"text": "How tall is Mount Everest?", "return_colbert": True})

    text: str
    is_query: bool = Field(True, description=OVERTAKES)


class VectorizeBatchHybridRequest(HybridOptions):
    """Many texts."""

    model_config = examples({"items": ["Mount Everest is 8849 m tall.", "K2 is 8611 m tall."]})

    items: ItemsField
    is_query: bool = Field(False, description=OVERTAKES)


class HybridVector(Body):
    """Three views of one text."""

    dense: AnyVector
    sparse: dict[str, float] = Field(description="Weight of each token; special tokens are left out.")
    colbert: AnyRows | None = Field(description="One vector a token; null if it was not asked for.")
    tokens: list[str] | None = Field(
        None,
        description="The tokenizer's pieces of the text, such as `▁shore`, where `▁` begins a word; absent if they "
        "were not asked for. Unless rows are pooled, `colbert[i]` is the row of `tokens[i]`; the row after them is "
        "that of the token which closes every text.",
    )


class HybridVectorResponse(Body):
    """The hybrid vector of one text."""

    hybrid_vector: HybridVector


class HybridVectorsResponse(Body):
    """The hybrid vectors of many texts: a list, or by id if the request came with ids."""

    hybrid_vectors: list[HybridVector] | dict[str, HybridVector]


class RerankRequest(Truncation, ModelChoice):
    """A query and the texts to score against it."""

    model_config = examples(
        {"query": "How tall is Mount Everest?", "candidates": ["Mount Everest is 8849 m tall.", "Bees make honey."]}
    )

    query: str
    candidates: Strings
    batch_size: int = Field(12, ge=1, description="Accepted for older clients; the server batches by itself.")
    normalize: bool = Field(
        True, description="Divide by the number of the query's rows, so that scores lie in [-1, 1]; false: the sum."
    )


class RerankResponse(Body):
    """One score for each candidate, in the order of the request."""

    scores: list[float]
