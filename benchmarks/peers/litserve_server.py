"""sentence-transformers behind LitServe, as its examples have it: batches of up to 32 requests.

.venv-peers/bin/python -m benchmarks.peers.litserve_server <checkpoint> <port>
"""

import sys
from typing import Any

import litserve
from sentence_transformers import SentenceTransformer


class Embedder(litserve.LitAPI):  # type: ignore[misc]
    """A request is `{"input": [text, ...]}`; texts of requests that came together are embedded in one call."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.005)
        self.checkpoint = checkpoint

    def setup(self, device: str) -> None:
        self.model = SentenceTransformer(self.checkpoint, device=device)

    def decode_request(self, request: dict[str, Any]) -> list[str]:
        texts: list[str] = request["input"]
        return texts

    def predict(self, requests: list[list[str]]) -> list[Any]:
        vectors = iter(self.model.encode([text for texts in requests for text in texts], show_progress_bar=False))
        return [[next(vectors) for _ in texts] for texts in requests]

    def encode_response(self, vectors: list[Any]) -> dict[str, Any]:
        return {"vectors": [vector.tolist() for vector in vectors]}


if __name__ == "__main__":
    server = litserve.LitServer(Embedder(sys.argv[1]), accelerator="cpu", timeout=600)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False)
