"""Scoring texts against a query with late interaction."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import numpy as np
from fastapi import Response

from app.api.ahead import one_ahead
from app.api.defaults import LATE_INTERACTION_FAMILY, MULTI_VECTOR
from app.api.encoding import json_response, made, required
from app.api.limits import check_texts, check_whole
from app.api.report import REPORT, report, truncated_indices
from app.api.route import EngineDep, SettingsDep, api_router
from app.api.schemas.text import RerankRequest, RerankResponse
from app.core.maxsim import maxsim_matrix
from app.core.types import Embedding, FloatArray, Modality, Output, Role, TextInput
from app.engine.model_runner import ModelRunner

router = api_router("text")

GROUP_CHARS = 1 << 16
"""Characters of texts that are scored together: their rows take about 64 MB (BGE-M3), 256 at most."""


@router.post("/rerank", summary="Score texts against a query", response_model=RerankResponse, responses=REPORT)
async def rerank(body: RerankRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    """MaxSim over the rows of the texts: with BGE-M3 as FlagEmbedding's `colbert_score` computes it (a row for each
    token but the first), with visual models over the rows that `/embed/queries` returns for the query.
    """
    check_texts([body.query], settings)
    check_texts(body.candidates, settings)
    name = engine.pick(body.model, (Modality.TEXT, Output.MULTI_VECTOR), prefer=LATE_INTERACTION_FAMILY)
    if not body.candidates:
        return await json_response(lambda: {"scores": []}, report([]), at_once=True)
    query = TextInput(body.query, Role.QUERY, MULTI_VECTOR, "query")
    candidates = [
        TextInput(text, Role.DOCUMENT, MULTI_VECTOR, f"candidates[{i}]") for i, text in enumerate(body.candidates)
    ]
    rows: FloatArray | None = None
    scores: list[FloatArray] = []
    read: list[Embedding] = []
    async with (
        engine.use(name) as model,
        aclosing(one_ahead(_encoded(model, [query, *candidates]))) as groups,
    ):
        async for inputs, embeddings in groups:
            if not body.truncate:
                check_whole(inputs, embeddings)
            # Scored and forgotten: the rows of all candidates might not fit into memory.
            read += [replace(embedding, multi_vector=None) for embedding in embeddings]
            matrices = [required(embedding.multi_vector).vectors for embedding in embeddings]
            if rows is None:
                rows, *matrices = matrices
            scores.append(await made(partial(_scores, rows, matrices, normalize=body.normalize)))
    cut = ["query" if index == 0 else index - 1 for index in truncated_indices(read)]
    return await json_response(lambda: {"scores": np.concatenate(scores)}, report(read, cut), at_once=True)


async def _encoded(
    model: ModelRunner, inputs: Sequence[TextInput]
) -> AsyncGenerator[tuple[Sequence[TextInput], list[Embedding]], None]:
    """Group by group, in order."""
    for group in _groups(inputs):
        yield group, await model.encode(group, interactive=True)


def _groups(inputs: Sequence[TextInput]) -> Iterator[Sequence[TextInput]]:
    """In order, each of `GROUP_CHARS` at most; a longer text alone."""
    start, n_chars = 0, 0
    for index, item in enumerate(inputs):
        n_chars += len(item.text)
        if n_chars > GROUP_CHARS and index > start:
            yield inputs[start:index]
            start, n_chars = index, len(item.text)
    yield inputs[start:]


def _scores(query: FloatArray, documents: Sequence[FloatArray], *, normalize: bool) -> FloatArray:
    """MaxSim of the query with each document, over the number of the query's rows if `normalize`: [n_documents]."""
    sums: FloatArray = maxsim_matrix([query], documents)[0]
    return sums / np.float32(max(len(query), 1)) if normalize else sums
