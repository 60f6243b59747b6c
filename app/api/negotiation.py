"""Which format an answer has: the request's `Accept` header (RFC 9110, section 12.5.1)."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, NamedTuple

from fastapi import Depends, Request


class MediaType(StrEnum):
    """The formats of embeddings."""

    JSON = "application/json"
    NPZ = "application/x-npz"
    SAFETENSORS = "application/x-safetensors"


class Range(NamedTuple):
    """One entry of an `Accept` header, such as `application/*;q=0.5`."""

    kind: str
    subtype: str
    quality: float

    @property
    def specificity(self) -> int:
        return (self.kind != "*") + (self.subtype != "*")

    def includes(self, media_type: MediaType) -> bool:
        kind, _, subtype = media_type.partition("/")
        return self.kind in ("*", kind) and self.subtype in ("*", subtype)


def negotiate(accept: str) -> MediaType:
    """The format that the header likes best; of equal ones the one that it names, then the one that it names first.

    JSON if it takes anything, or none of ours: clients that ask for what there is not are better off with an answer
    whose `Content-Type` they can read than with none.
    """
    ranges = list(_ranges(accept))
    best, best_rank = MediaType.JSON, (0.0, 0, 0)
    for media_type in MediaType:
        matching = [(place, one) for place, one in enumerate(ranges) if one.includes(media_type)]
        if matching:
            place, closest = max(matching, key=lambda match: match[1].specificity)
            rank = (closest.quality, closest.specificity, -place)
            if closest.quality > 0 and rank > best_rank:
                best, best_rank = media_type, rank
    return best


def _ranges(accept: str) -> Iterator[Range]:
    """The header's entries; those that are none are left out."""
    for entry in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in entry.split(";"))
        kind, _, subtype = media_type.partition("/")
        quality = next((p.removeprefix("q=") for p in parameters if p.startswith("q=")), "1")
        try:
            yield Range(kind, subtype, float(quality))
        except ValueError:
            continue


async def _media_type(request: Request) -> MediaType:
    return negotiate(",".join(request.headers.getlist("accept")))


# Not a parameter of the OpenAPI document, which expresses this by the content types of the answer.
MediaTypeDep = Annotated[MediaType, Depends(_media_type)]
