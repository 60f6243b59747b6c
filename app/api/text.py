"""Texts into dense and hybrid vectors."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Response

from app.api.defaults import LATE_INTERACTION_FAMILY
from app.api.encoding import EMBEDDINGS, required, respond
from app.api.limits import check_dimensions, check_texts, check_whole
from app.api.negotiation import MediaTypeDep
from app.api.report import report, truncated_indices
from app.api.route import EngineDep, SettingsDep, api_router
from app.api.schemas.options import Truncation, VectorOptions
from app.api.schemas.text import (
    HybridOptions,
    HybridVectorResponse,
    HybridVectorsResponse,
    VectorizeBatchHybridRequest,
    VectorizeBatchRequest,
    VectorizeHybridRequest,
    VectorizeRequest,
    VectorResponse,
    VectorsResponse,
)
from app.api.vectors import dense, rows
from app.core.quantization import StoredVectors
from app.core.types import Embedding, Modality, Output, Role, SparseEmbedding, TextInput
from app.engine.engine import Engine
from app.settings import Settings

router = api_router("text")

Label = Callable[[int], str]
"""What errors call a text, by its place."""


@router.post("/vectorize", summary="One text into a dense vector", response_model=VectorResponse, responses=EMBEDDINGS)
async def vectorize(
    body: VectorizeRequest, media_type: MediaTypeDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    (embedding,) = embeddings = await _dense(engine, settings, body, [body.text], _only)
    return await respond(
        lambda: {"vector": _vector(embedding, body)},
        media_type,
        body.encoding_format,
        _report(embeddings),
        at_once=True,
    )


@router.post(
    "/vectorize-batch", summary="Texts into dense vectors", response_model=VectorsResponse, responses=EMBEDDINGS
)
async def vectorize_batch(
    body: VectorizeBatchRequest, media_type: MediaTypeDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    embeddings = await _dense(engine, settings, body, body.items.texts, body.items.label)

    def content() -> dict[str, Any]:
        return {"vectors": body.items.keyed([_vector(embedding, body) for embedding in embeddings])}

    return await respond(
        content,
        media_type,
        body.encoding_format,
        _report(embeddings),
        at_once=len(embeddings) == 1,
        threads=engine.answer_threads(len(embeddings)),
    )


@router.post(
    "/vectorize-hybrid",
    summary="One text into dense, sparse and ColBERT vectors",
    response_model=HybridVectorResponse,
    responses=EMBEDDINGS,
)
async def vectorize_hybrid(
    body: VectorizeHybridRequest, media_type: MediaTypeDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    (embedding,) = embeddings = await _hybrid(engine, settings, body, [body.text], _only)
    return await respond(
        lambda: {"hybrid_vector": _hybrid_vector(embedding, body)},
        media_type,
        body.encoding_format,
        _report(embeddings),
    )


@router.post(
    "/vectorize-batch-hybrid",
    summary="Texts into dense, sparse and ColBERT vectors",
    response_model=HybridVectorsResponse,
    responses=EMBEDDINGS,
)
async def vectorize_batch_hybrid(
    body: VectorizeBatchHybridRequest, media_type: MediaTypeDep, engine: EngineDep, settings: SettingsDep
) -> Response:
    embeddings = await _hybrid(engine, settings, body, body.items.texts, body.items.label)

    def content() -> dict[str, Any]:
        return {"hybrid_vectors": body.items.keyed([_hybrid_vector(embedding, body) for embedding in embeddings])}

    threads = engine.answer_threads(len(embeddings))
    return await respond(content, media_type, body.encoding_format, _report(embeddings), threads=threads)


async def _dense(
    engine: Engine,
    settings: Settings,
    body: VectorizeRequest | VectorizeBatchRequest,
    texts: Sequence[str],
    label: Label,
) -> list[Embedding]:
    check_texts(texts, settings)
    role = Role.QUERY if body.is_query else Role.DOCUMENT
    name = engine.pick(body.model, (Modality.TEXT, Output.DENSE))
    await check_dimensions(engine, name, body.dimensions)
    inputs = [TextInput(text, role, label=label(index)) for index, text in enumerate(texts)]
    return await _embed(engine, name, inputs, body)


async def _hybrid(
    engine: Engine,
    settings: Settings,
    body: VectorizeHybridRequest | VectorizeBatchHybridRequest,
    texts: Sequence[str],
    label: Label,
) -> list[Embedding]:
    check_texts(texts, settings)
    # Models name the pieces of a text only where they write a row for each.
    rowwise = body.return_colbert or body.return_tokens
    outputs = {Output.DENSE, Output.SPARSE} | ({Output.MULTI_VECTOR} if rowwise else set())
    name = engine.pick(body.model, *((Modality.TEXT, output) for output in outputs), prefer=LATE_INTERACTION_FAMILY)
    role = Role.QUERY if body.is_query else Role.DOCUMENT
    await check_dimensions(engine, name, body.dimensions)
    wanted = frozenset(outputs)
    inputs = [TextInput(text, role, wanted, label(index)) for index, text in enumerate(texts)]
    return await _embed(engine, name, inputs, body)


async def _embed(engine: Engine, name: str, inputs: Sequence[TextInput], options: Truncation) -> list[Embedding]:
    embeddings = await engine.encode(name, inputs)
    if not options.truncate:
        check_whole(inputs, embeddings)
    return embeddings


def _only(index: int) -> str:
    """What errors call a text that came alone."""
    return "text"


def _report(embeddings: Sequence[Embedding]) -> dict[str, str]:
    return report(embeddings, truncated_indices(embeddings))


def _vector(embedding: Embedding, options: VectorOptions) -> StoredVectors:
    return dense(required(embedding.dense), options)


def _hybrid_vector(embedding: Embedding, options: HybridOptions) -> dict[str, Any]:
    sparse = required(embedding.sparse)
    tokens = {"tokens": list(required(embedding.multi_vector).tokens)} if options.return_tokens else {}
    return {
        "dense": _vector(embedding, options),
        "sparse": _weights_by_id(sparse) if options.sparse_keys == "id" else _weights_by_token(sparse),
        "colbert": rows(required(embedding.multi_vector), options) if options.return_colbert else None,
        **tokens,
    }


def _weights_by_id(sparse: SparseEmbedding) -> dict[str, Any]:
    return {str(token_id): weight for token_id, weight in zip(sparse.token_ids, sparse.weights, strict=True)}


def _weights_by_token(sparse: SparseEmbedding) -> dict[str, Any]:
    """Two ids may be written alike; the larger weight stands for both."""
    weights: dict[str, Any] = {}
    for token, weight in zip(sparse.tokens, sparse.weights, strict=True):
        weights[token] = max(weight, weights.get(token, weight))
    return weights
