"""Texts on a GPU: E5 over HTTP, the bare model, and sentence-transformers in the same precision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from tokenizers import Tokenizer

from app.core.types import Embedding, Role, TextInput
from app.families.base import Checkpoint, EmbeddingModel, Padding
from app.families.e5 import E5Model
from app.families.torch_model import DTYPES
from app.starter.text import SMALLEST, EncoderShape, build_e5
from app.starter.vocabulary import WORDS
from benchmarks.checkpoints import CACHE, E5_SHAPES, e5_checkpoint
from benchmarks.gpu_queries import ask, measure_queries
from benchmarks.gpu_setting import GpuServer, Setting, batches, built, share
from benchmarks.latency import QUERIES
from benchmarks.limits import flops
from benchmarks.report import Report, Table, interleaved, median
from benchmarks.texts import MAX_TOKENS, PREFIX, Text, n_tokens, ragged_texts

REQUEST_SIZE = 32
N_REQUESTS = {"full": 32, "ragged": 128}
"""So many different ones."""
TIMES_OVER_HTTP = {"full": 10, "ragged": 4}
"""Each is sent so often: several for each connection, or a round would be all beginning and end."""
N_INGESTED = 128
TIMES_INGESTED = 4
TINY_REQUEST_SIZE, TINY_REQUESTS = 4, 4
PEER_BATCHES = (32, 256)
"""sentence-transformers' default, and one that fills a GPU better."""
MIN_COSINE = {"float32": 0.9999, "bfloat16": 0.99, "float16": 0.99}


class TextServer(GpuServer):
    """E5 over `/vectorize-batch`."""

    def body(self, texts: Sequence[Text]) -> Any:
        return {"items": [text.bare for text in texts], "model": "model"}


Encode = Callable[[Sequence[Text]], Any]
"""Texts to unit vectors, [n_texts, dim] float32."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to embed texts."""

    run: Callable[[], object]
    texts: Sequence[Text]
    """What it embeds in a round."""


def measure_texts(setting: Setting, peak: float, report: Report) -> None:
    """A table of full texts and one of ragged ones."""
    checkpoint, shape = text_checkpoint(setting)
    model = E5Model.load(Checkpoint(checkpoint), setting.options)
    peers = sentence_transformers(checkpoint, setting)
    size = TINY_REQUEST_SIZE if setting.tiny else REQUEST_SIZE
    with TextServer(checkpoint, setting) as server:
        for kind, make in {"full": full_texts, "ragged": ragged_texts}.items():
            texts = make(size * (TINY_REQUESTS if setting.tiny else N_REQUESTS[kind]), checkpoint)
            sent = texts * (1 if setting.tiny else TIMES_OVER_HTTP[kind])
            requests = requests_of(sent, size)
            ways = {
                "ours, over HTTP": Way(partial(server.embed, requests, setting.connections), sent),
                "ours, the bare model": Way(bare(model, texts, setting.batch_tokens), texts),
                **{name: Way(partial(encode, texts), texts) for name, encode in peers.items()},
            }
            check_vectors(server, texts[:size], peers, setting)
            seconds = interleaved({name: way.run for name, way in ways.items()}, rounds=setting.rounds)
            report.raw[f"texts, {kind}"] = seconds
            table = report.table(
                f"E5, {'512 tokens a text' if kind == 'full' else 'ragged texts'}, {setting.dtype}",
                f"{setting.connections} connections, {size} texts a request; attention: {model.info.attention}. The "
                "bare model gets tokenized texts. Useful: products of linear layers and attention for real tokens.",
            )
            add_rows(table, ways, seconds, shape, peak)
            report.show(table)
        ingest = ragged_texts(size * (TINY_REQUESTS if setting.tiny else N_INGESTED), checkpoint) * TIMES_INGESTED
        measure_queries(server, query_calls(server, model, peers), requests_of(ingest, size), report)
    model.close()


def requests_of(texts: list[Text], size: int) -> list[list[Text]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def query_calls(
    server: TextServer, model: EmbeddingModel, peers: dict[str, Encode]
) -> dict[str, Sequence[Callable[[], object]]]:
    """By the way that they go, a call for each of some queries; that over HTTP first."""
    calls: dict[str, Sequence[Callable[[], object]]] = {
        "ours, over HTTP": [partial(ask, server.port, query) for query in QUERIES],
        "ours, the bare model": [partial(model.encode, [model.prepare_text(TextInput(query))]) for query in QUERIES],
    }
    name, encode = next(iter(peers.items()), ("", None))
    if encode:
        calls[name] = [partial(encode, [Text(query, 0)]) for query in QUERIES]
    return calls


def add_rows(
    table: Table, ways: dict[str, Way], seconds: dict[str, list[float]], shape: EncoderShape, peak: float
) -> None:
    """Tokens a second of everyone, and the share of the device's peak."""
    for name, way in ways.items():
        s = median(seconds[name])
        useful = sum(flops(shape, text.n_tokens) for text in way.texts)
        table.row(
            way=name,
            tokens_per_s=n_tokens([*way.texts]) / s,
            texts_per_s=len(way.texts) / s,
            share_of_peak=share(useful, s, peak),
        )


def text_checkpoint(setting: Setting) -> tuple[Path, EncoderShape]:
    """multilingual-e5-large's shape, or the smallest."""
    if not setting.tiny:
        return e5_checkpoint("large"), E5_SHAPES["large"]
    return built(CACHE / "e5-tiny", build_e5), SMALLEST


def full_texts(n: int, checkpoint: Path, seed: int = 1) -> list[Text]:
    """Texts of random words that a model reads to its limit, and which are not longer."""
    random = np.random.default_rng(seed)
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = []
    for _ in range(n):
        words = " ".join(random.choice(WORDS, size=MAX_TOKENS))
        # Its last token is the closing one, and the character where the one before ends is where the text is cut.
        end = tokenizer.encode(PREFIX + words).offsets[MAX_TOKENS - 2][1]
        bare = (PREFIX + words)[len(PREFIX) : end]
        texts.append(Text(bare, min(MAX_TOKENS, len(tokenizer.encode(PREFIX + bare)))))
    return texts


def bare(model: EmbeddingModel, texts: Sequence[Text], batch_tokens: int) -> Callable[[], list[Embedding]]:
    """Runs the model over texts that are tokenized by now, the longest first where it pads."""
    items = [model.prepare_text(TextInput(text.bare, Role.DOCUMENT)) for text in texts]
    if model.info.padding is not Padding.NONE:
        items.sort(key=lambda item: -item.n_tokens)
    groups = list(batches(items, batch_tokens))
    return lambda: [embedding for group in groups for embedding in model.encode(group)]


def sentence_transformers(checkpoint: Path, setting: Setting) -> dict[str, Encode]:
    """By name; none where it is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        print("sentence-transformers is not installed: measured without it.", flush=True)
        return {}
    model = SentenceTransformer(
        str(checkpoint), device=setting.device, model_kwargs={"dtype": DTYPES[setting.dtype]}, local_files_only=True
    )

    def encode(size: int, texts: Sequence[Text]) -> Any:
        vectors = model.encode(
            [text.prefixed for text in texts], batch_size=size, show_progress_bar=False, convert_to_tensor=True
        )
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()

    return {f"sentence-transformers, {size} a batch": partial(encode, size) for size in PEER_BATCHES}


def check_vectors(server: TextServer, texts: Sequence[Text], peers: dict[str, Encode], setting: Setting) -> None:
    """Raise `RuntimeError` if a peer computes something else than the server: then the figures compare nothing."""
    _, (answer,) = server.embed([texts], 1)
    ours = np.array(server.vectors(orjson.loads(answer)), np.float32)
    for name, encode in peers.items():
        cosine = float((ours * encode(texts)).sum(axis=1).min())
        if cosine < MIN_COSINE[setting.dtype]:
            raise RuntimeError(f"{name} computes other vectors than ours: cosine {cosine}")
