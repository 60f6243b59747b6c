"""What an answer's headers say of its inputs: which were cut, how many tokens and how much time they took."""

from collections.abc import Iterable, Sequence
from typing import Any

from app.core.types import Embedding

TRUNCATED_HEADER = "X-Truncated"
USAGE_HEADER = "X-Usage-Tokens"
TIMING_HEADER = "Server-Timing"
MAX_LISTED = 256
"""Most indices that the header lists: proxies refuse headers of more than a few kB."""

REPORT_HEADERS: dict[str, Any] = {
    TRUNCATED_HEADER: {
        "description": "Which texts were longer than the model's context and lost their end: their indices "
        "in the request, counted from 0, separated by commas; `query` for a query that stands alone. "
        f"At most {MAX_LISTED} are listed, then `...` follows. Absent if none was cut.",
        "schema": {"type": "string"},
    },
    USAGE_HEADER: {
        "description": "Tokens that the model read for this request: of texts with prefixes and special tokens, "
        "of images a token for each patch and those around them.",
        "schema": {"type": "integer"},
    },
    TIMING_HEADER: {
        "description": "Where the time went, in milliseconds: `render` if pages of PDFs were drawn, `load` if the "
        "request waited for its model to load, `queue` (waiting for a thread and for a batch), `prepare`, `model`, "
        "`encode`, `total`. Inputs are worked on side by side; of each phase the longest counts.",
        "schema": {"type": "string"},
    },
}

REPORT: dict[int | str, dict[str, Any]] = {200: {"headers": REPORT_HEADERS}}
"""Documents the headers in a route's `responses`."""


def report(embeddings: Iterable[Embedding], truncated: Iterable[int | str] = ()) -> dict[str, str]:
    """The headers for a request whose inputs became `embeddings`; `truncated` names those that were cut."""
    n_tokens = sum(embedding.n_tokens for embedding in embeddings)
    return truncation_headers(truncated) | {USAGE_HEADER: str(n_tokens)}


def truncation_headers(truncated: Iterable[int | str]) -> dict[str, str]:
    """The header that makes truncation visible; empty if nothing was cut."""
    names = [str(name) for name in truncated]
    if len(names) > MAX_LISTED:
        names = [*names[:MAX_LISTED], "..."]
    return {TRUNCATED_HEADER: ",".join(names)} if names else {}


def truncated_indices(embeddings: Sequence[Embedding]) -> list[int]:
    """Which of the inputs were cut."""
    return [index for index, embedding in enumerate(embeddings) if embedding.truncated]
