"""Texts into dense and hybrid vectors."""

from collections.abc import Sequence
from typing import Any

from fastapi import Response

from app.api.defaults import LATE_INTERACTION_FAMILY
from app.api.encoding import TRUNCATION, json_response, required, truncated_indices
from app.api.limits import check_texts
from app.api.route import EngineDep, SettingsDep, api_router
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
from app.core.types import Embedding, FloatArray, Modality, Output, Role, SparseEmbedding, TextInput
from app.engine.engine import Engine
from app.settings import Settings

router = api_router("text")


@router.post("/vectorize", summary="One text into a dense vector", response_model=VectorResponse, responses=TRUNCATION)
async def vectorize(body: VectorizeRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    embeddings = await _dense(engine, settings, body.model, [body.text], is_query=body.is_query)
    return await json_response({"vector": _vectors(embeddings)[0]}, truncated_indices(embeddings))


@router.post(
    "/vectorize-batch", summary="Texts into dense vectors", response_model=VectorsResponse, responses=TRUNCATION
)
async def vectorize_batch(body: VectorizeBatchRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    embeddings = await _dense(engine, settings, body.model, body.items.texts, is_query=body.is_query)
    return await json_response({"vectors": body.items.keyed(_vectors(embeddings))}, truncated_indices(embeddings))


@router.post(
    "/vectorize-hybrid",
    summary="One text into dense, sparse and ColBERT vectors",
    response_model=HybridVectorResponse,
    responses=TRUNCATION,
)
async def vectorize_hybrid(body: VectorizeHybridRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    embeddings = await _hybrid(engine, settings, body, [body.text])
    return await json_response({"hybrid_vector": _hybrid_vector(embeddings[0], body)}, truncated_indices(embeddings))


@router.post(
    "/vectorize-batch-hybrid",
    summary="Texts into dense, sparse and ColBERT vectors",
    response_model=HybridVectorsResponse,
    responses=TRUNCATION,
)
async def vectorize_batch_hybrid(
    body: VectorizeBatchHybridRequest, engine: EngineDep, settings: SettingsDep
) -> Response:
    embeddings = await _hybrid(engine, settings, body, body.items.texts)
    vectors = [_hybrid_vector(embedding, body) for embedding in embeddings]
    return await json_response({"hybrid_vectors": body.items.keyed(vectors)}, truncated_indices(embeddings))


async def _dense(
    engine: Engine, settings: Settings, model: str | None, texts: Sequence[str], *, is_query: bool
) -> list[Embedding]:
    check_texts(texts, settings)
    role = Role.QUERY if is_query else Role.DOCUMENT
    name = engine.pick(model, (Modality.TEXT, Output.DENSE))
    return await engine.encode(name, [TextInput(text, role) for text in texts])


async def _hybrid(engine: Engine, settings: Settings, options: HybridOptions, texts: Sequence[str]) -> list[Embedding]:
    check_texts(texts, settings)
    outputs = {Output.DENSE, Output.SPARSE} | ({Output.MULTI_VECTOR} if options.return_colbert else set())
    name = engine.pick(options.model, *((Modality.TEXT, output) for output in outputs), prefer=LATE_INTERACTION_FAMILY)
    return await engine.encode(name, [TextInput(text, Role.DOCUMENT, frozenset(outputs)) for text in texts])


def _vectors(embeddings: Sequence[Embedding]) -> list[FloatArray]:
    return [required(embedding.dense) for embedding in embeddings]


def _hybrid_vector(embedding: Embedding, options: HybridOptions) -> dict[str, Any]:
    sparse = required(embedding.sparse)
    return {
        "dense": required(embedding.dense),
        "sparse": _weights_by_id(sparse) if options.sparse_keys == "id" else _weights_by_token(sparse),
        "colbert": required(embedding.multi_vector).vectors if options.return_colbert else None,
    }


def _weights_by_id(sparse: SparseEmbedding) -> dict[str, Any]:
    return {str(token_id): weight for token_id, weight in zip(sparse.token_ids, sparse.weights, strict=True)}


def _weights_by_token(sparse: SparseEmbedding) -> dict[str, Any]:
    """Two ids may be written alike; the larger weight stands for both."""
    weights: dict[str, Any] = {}
    for token, weight in zip(sparse.tokens, sparse.weights, strict=True):
        weights[token] = max(weight, weights.get(token, weight))
    return weights
