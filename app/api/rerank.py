"""Scoring texts against a query with late interaction."""

import numpy as np
from fastapi import Response

from app.api.defaults import LATE_INTERACTION_FAMILY, MULTI_VECTOR
from app.api.encoding import json_response, required
from app.api.limits import check_texts, check_whole
from app.api.report import REPORT, report, truncated_indices
from app.api.route import EngineDep, SettingsDep, api_router
from app.api.schemas.text import RerankRequest, RerankResponse
from app.core.maxsim import maxsim_matrix
from app.core.types import Embedding, FloatArray, Modality, Output, Role, TextInput

router = api_router("text")


@router.post("/rerank", summary="Score texts against a query", response_model=RerankResponse, responses=REPORT)
async def rerank(body: RerankRequest, engine: EngineDep, settings: SettingsDep) -> Response:
    """MaxSim over the rows of the texts: with BGE-M3 as FlagEmbedding's `colbert_score` computes it (a row for each
    token but the first), with visual models over the rows that `/embed/queries` returns for the query.
    """
    check_texts([body.query], settings)
    check_texts(body.candidates, settings)
    name = engine.pick(body.model, (Modality.TEXT, Output.MULTI_VECTOR), prefer=LATE_INTERACTION_FAMILY)
    if not body.candidates:
        return await json_response(lambda: {"scores": []})
    candidates = [TextInput(text, Role.DOCUMENT, MULTI_VECTOR) for text in body.candidates]
    inputs = [TextInput(body.query, Role.QUERY, MULTI_VECTOR), *candidates]
    query, *documents = await engine.encode(name, inputs, interactive=True)
    cut_query, cut_documents = ["query"] if query.truncated else [], truncated_indices(documents)
    if not body.truncate:
        await check_whole(engine, name, [*cut_query, *(f"candidates[{index}]" for index in cut_documents)])
    return await json_response(
        lambda: {"scores": _scores(query, documents, normalize=body.normalize)},
        report([query, *documents], [*cut_query, *cut_documents]),
    )


def _scores(query: Embedding, documents: list[Embedding], *, normalize: bool) -> FloatArray:
    """MaxSim of the query with each document, over the number of the query's rows if `normalize`: [n_documents]."""
    rows = required(query.multi_vector).vectors
    sums: FloatArray = maxsim_matrix([rows], [required(document.multi_vector).vectors for document in documents])[0]
    return sums / np.float32(max(len(rows), 1)) if normalize else sums
