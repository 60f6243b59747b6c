"""Where a query matches on a page."""

from pydantic import Field

from app.api.schemas.common import Body, Vector


class TokenSimilarityMap(Body):
    """How well one token of the query matches each patch of the page."""

    token: str
    token_index: int
    similarity_map: list[Vector] = Field(
        description="[n_patches_x][n_patches_y]: the first index is the column from the left, the second the row from "
        "the top. Cosine similarities."
    )


class InterpretResponse(Body):
    """Similarity maps of all tokens of the query."""

    query: str
    tokens: list[str] = Field(description="The tokenizer's pieces of the query.")
    similarity_maps: list[TokenSimilarityMap]
    n_patches_x: int
    n_patches_y: int
    image_width: int = Field(description="Pixels.")
    image_height: int = Field(description="Pixels.")


class Hotspot(Body):
    """A patch that matches well."""

    x: int = Field(description="Column of the patch, from the left.")
    y: int = Field(description="Row of the patch, from the top.")
    score: float


class TokenSimilarity(Body):
    """How well one token of the query matches the page."""

    token_idx: int
    max_similarity_score: float
    avg_similarity_score: float
    hotspots: list[Hotspot] = Field(description="The five best patches, best first.")


class QuerySingleResponse(Body):
    """How well a query matches a page, over all and token by token."""

    query: str
    overall_similarity: float = Field(
        description="MaxSim of the query's own tokens with the page's patches, divided by their number: the mean of "
        "`max_similarity_score`, in [-1, 1]."
    )
    tokens: dict[str, TokenSimilarity] = Field(
        description="By token; one that occurs again is called `token#2`, `token#3`, ..."
    )
    token_list: list[str] = Field(description="The keys of `tokens` in the order of the query.")
