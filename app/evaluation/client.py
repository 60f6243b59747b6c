"""Asks a running server over its public API."""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx2
import numpy as np
from safetensors.numpy import load

from app.core.types import FloatArray, PatchGrid
from app.evaluation.errors import EvaluationError

TIMEOUT_S = 600.0
"""Of one request: a large model on a CPU takes minutes for a batch of pages."""
BUSY_S = 120.0
"""How long a request is sent again to a server that is busy."""
NOT_OURS = "The answer is not one of a Manyvec server; is --url right?"
SAFETENSORS = {"Accept": "application/x-safetensors"}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as `/v1/models` lists it."""

    name: str
    family: str
    capabilities: frozenset[str]
    """`text:dense`, `image:multi_vector`, ..."""
    state: str
    """`unloaded`, `loading`, `ready`, ..."""


@dataclass(frozen=True, slots=True)
class HybridVector:
    """What BGE-M3 writes for a text."""

    dense: FloatArray
    """[dim]"""
    sparse: dict[str, float]
    """Weight by vocabulary id."""
    colbert: FloatArray
    """[n_tokens, dim]"""


@dataclass(frozen=True, slots=True)
class Interpretation:
    """Where each token of a query matches on a page."""

    tokens: list[str]
    maps: FloatArray
    """[n_tokens, n_patches_y, n_patches_x]"""
    width: int
    """Of the page, in pixels."""
    height: int


@dataclass(frozen=True, slots=True)
class PictureFeatures:
    """What DINOv3 writes for a picture."""

    cls: FloatArray
    """[dim]"""
    patches: FloatArray
    """[n_patches, dim], row by row; no rows if they were not asked for."""


class ServerClient:
    """One server. Every method raises `EvaluationError` where the server does not answer as it should."""

    def __init__(self, http: httpx2.Client, *, busy_s: float = BUSY_S) -> None:
        """`http` has the server's address and, if it needs one, the key."""
        self._http = http
        self._busy_s = busy_s

    @classmethod
    @contextmanager
    def connect(cls, url: str, api_key: str | None = None) -> Iterator[Self]:
        """A client of the server at `url`."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            http = httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_S)
        except (httpx2.InvalidURL, ValueError) as error:
            raise EvaluationError(f"{url} is no address of a server; write http://127.0.0.1:8000.") from error
        with http:
            yield cls(http)

    def models(self) -> list[ServedModel]:
        """All that the server offers."""
        listed = self._json("GET", "/v1/models")
        try:
            return [
                ServedModel(one["id"], one["family"], frozenset(one["capabilities"]), one["state"])
                for one in listed["data"]
            ]
        except (KeyError, TypeError) as error:
            raise EvaluationError(NOT_OURS) from error

    def model(self, name: str) -> ServedModel:
        """The model that is served under this name."""
        models = self.models()
        found = next((model for model in models if model.name == name), None)
        if found is None:
            names = ", ".join(model.name for model in models)
            raise EvaluationError(f"The server has no model {name}. It serves: {names}.")
        return found

    def load(self, name: str) -> None:
        """Wait until a model is ready, however long it takes to arrive from the hub."""
        path = f"/models/{name}/load"
        response = self._send("POST", path)
        while response.status_code == httpx2.codes.SERVICE_UNAVAILABLE and self.model(name).state == "loading":
            time.sleep(_retry_after_s(response))
            response = self._send("POST", path)
        _raise_for_error(path, response)

    def vectors(self, model: str, texts: Sequence[str], *, is_query: bool) -> FloatArray:
        """Dense vectors [n_texts, dim]."""
        body = {"model": model, "items": list(texts), "is_query": is_query, "normalize": True}
        arrays, _ = self._arrays("/vectorize-batch", json=body)
        return arrays["vectors"]

    def hybrid_vectors(self, model: str, texts: Sequence[str]) -> list[HybridVector]:
        """Dense, sparse and ColBERT vectors of each text."""
        body = {"model": model, "items": list(texts), "return_colbert": True, "sparse_keys": "id"}
        arrays, rest = self._arrays("/vectorize-batch-hybrid", json=body)
        return [
            HybridVector(arrays[vector["dense"]], vector["sparse"], arrays[vector["colbert"]])
            for vector in rest["hybrid_vectors"]
        ]

    def query_vectors(self, model: str, queries: Sequence[str]) -> list[FloatArray]:
        """One vector a token of each query: [n_tokens, dim]."""
        arrays, rest = self._arrays("/embed/queries", json={"model": model, "queries": list(queries)})
        return [arrays[name] for name in rest["embeddings"]]

    def page_vectors(self, model: str, pages: Sequence[bytes]) -> list[FloatArray]:
        """All vectors of each page: [n_rows, dim]."""
        files = [("files", (f"page{index}", page)) for index, page in enumerate(pages)]
        arrays, rest = self._arrays("/embed/images", params={"model": model}, files=files)
        return [arrays[page["embedding"]] for page in rest["embeddings"]]

    def patch_grid(self, model: str, width: int, height: int) -> PatchGrid:
        """Columns and rows of patches that a picture of this size gets."""
        body = {"model": model, "dimensions": [{"width": width, "height": height}]}
        (grid,) = self._json("POST", "/patches", json=body)["results"]
        return PatchGrid(grid["n_patches_x"], grid["n_patches_y"])

    def interpret(self, model: str, page: bytes, query: str) -> Interpretation:
        """Similarity maps of the query's tokens on a page."""
        fields = {"model": model, "query": query}
        answer = self._json("POST", "/interpret", data=fields, files={"file": ("page", page)})
        # The route puts the column first.
        maps = np.array([found["similarity_map"] for found in answer["similarity_maps"]], dtype=np.float32)
        return Interpretation(answer["tokens"], maps.swapaxes(1, 2), answer["image_width"], answer["image_height"])

    def picture_features(
        self, model: str, pictures: Sequence[bytes], *, with_patches: bool = False
    ) -> list[PictureFeatures]:
        """The CLS vector of each picture and, if wanted, those of its patches."""
        types = ["cls_token", "patch_features"] if with_patches else ["cls_token"]
        data = [base64.b64encode(picture).decode() for picture in pictures]
        arrays, rest = self._arrays("/predict", json={"model": model, "image_data": data, "embedding_types": types})
        none = np.zeros((0, 0), dtype=np.float32)
        return [
            PictureFeatures(arrays[found["cls_token"]], arrays[found["patch_features"]] if with_patches else none)
            for found in rest
        ]

    def _json(self, method: str, path: str, **request: Any) -> Any:
        answer = self._answer(method, path, **request)
        try:
            return answer.json()
        except ValueError as error:
            raise EvaluationError(NOT_OURS) from error

    def _arrays(self, path: str, **request: Any) -> tuple[dict[str, FloatArray], Any]:
        """The arrays by name, and the answer's body with those names in their places."""
        content = self._answer("POST", path, headers=SAFETENSORS, **request).content
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"]["metadata"])

    def _answer(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """Sends a request again while the server is busy."""
        patience = time.monotonic() + self._busy_s
        response = self._send(method, path, **request)
        while response.status_code == httpx2.codes.SERVICE_UNAVAILABLE and time.monotonic() < patience:
            time.sleep(_retry_after_s(response))
            response = self._send(method, path, **request)
        _raise_for_error(path, response)
        return response

    def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        try:
            return self._http.request(method, path, **request)
        except httpx2.TimeoutException as error:
            raise EvaluationError(f"{path} did not answer within {TIMEOUT_S:.0f} seconds.") from error
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            address = str(self._http.base_url).rstrip("/")
            raise EvaluationError(
                f"No server answers at {address}. Start one with `make run`, or name another with --url."
            ) from error


def _raise_for_error(path: str, response: httpx2.Response) -> None:
    if response.status_code == httpx2.codes.UNAUTHORIZED:
        raise EvaluationError("The server wants a key: pass --api-key KEY, or set API_KEY.")
    if not response.is_success:
        raise EvaluationError(f"{path} answered {response.status_code}: {_message(response)}")


def _retry_after_s(response: httpx2.Response) -> float:
    return float(response.headers.get("Retry-After", 1))


def _message(response: httpx2.Response) -> str:
    try:
        body = response.json()
        return str(body.get("detail") or body["error"])
    except (ValueError, KeyError, AttributeError):
        return NOT_OURS
