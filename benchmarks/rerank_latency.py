"""Latency of /rerank, alone and while a bulk ingest saturates the model, which it overtakes.

python -m benchmarks.rerank_latency [--rounds 5]
"""

import argparse
import threading
from collections.abc import Callable, Sequence
from functools import partial

import orjson

from benchmarks.checkpoints import bge_m3_checkpoint
from benchmarks.latency import Phase, ask_health, clock, connected, percentile, pour, timed
from benchmarks.report import Report, median
from benchmarks.servers import OursBgeM3
from benchmarks.texts import Text, n_tokens, ragged_texts

PHASE_S = 15.0
PAUSE_S = 0.25
INGEST_CONNECTIONS = 8
TEXTS_A_REQUEST = 32
N_CANDIDATES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    checkpoint = bge_m3_checkpoint()
    documents = ragged_texts(1024, checkpoint)
    candidates = ragged_texts(N_CANDIDATES, checkpoint, seed=1)
    texts = [text.bare for text in candidates]
    overtaking = "/rerank", orjson.dumps({"query": texts[0], "candidates": texts})
    # The same texts into the same vectors, but as documents that wait their turn.
    in_order = "/vectorize-batch-hybrid", orjson.dumps({"items": texts, "return_colbert": True})
    phases: dict[str, list[Phase]] = {"rerank": [], "ingest": [], "both": [], "both, in order": []}
    with OursBgeM3(checkpoint) as server:
        run(server, documents, overtaking, ingest=True, seconds=5)
        for _ in range(rounds):
            phases["rerank"].append(run(server, documents, overtaking))
            phases["ingest"].append(run(server, documents, ingest=True))
            phases["both"].append(run(server, documents, overtaking, ingest=True))
            phases["both, in order"].append(run(server, documents, in_order, ingest=True))
    report(phases, n_tokens(candidates))


def run(
    server: OursBgeM3,
    documents: Sequence[Text],
    asked: tuple[str, bytes] | None = None,
    *,
    ingest: bool = False,
    seconds: float = PHASE_S,
) -> Phase:
    """Put the server under these loads for some seconds; `asked`, a path and a body, is asked for again and again."""
    phase = Phase()
    stop = threading.Event()
    jobs: list[Callable[[], None]] = [lambda: ask_health(server, phase, stop)]
    if asked:
        jobs.append(lambda: _ask(server, *asked, phase, stop))
    if ingest:
        parts = [documents[part::INGEST_CONNECTIONS] for part in range(INGEST_CONNECTIONS)]
        jobs += [partial(pour, server, part, phase, stop, TEXTS_A_REQUEST) for part in parts]
    clock(phase, jobs, stop, seconds)
    return phase


def report(phases: dict[str, list[Phase]], n_candidate_tokens: int) -> None:
    """Medians over the rounds."""
    report = Report("rerank_latency", "Reranking under load")
    table = report.table(
        "/rerank and an ingest, a BGE-M3 of the small E5's width and depth",
        note=f"Milliseconds; medians of {len(phases['both'])} rounds of {PHASE_S:g} s. {N_CANDIDATES} candidates of "
        f"{n_candidate_tokens} tokens in all. Ingest: {INGEST_CONNECTIONS} connections, {TEXTS_A_REQUEST} ragged texts "
        "a request. In order: the candidates sent as documents, which wait their turn.",
    )
    alone = median([percentile(phase.query_ms, 50) for phase in phases["rerank"]])
    full = median([phase.tokens_a_second for phase in phases["ingest"]])
    for name, rounds in phases.items():
        p50 = median([percentile(phase.query_ms, 50) for phase in rounds]) if rounds[0].query_ms else None
        ingested = median([phase.tokens_a_second for phase in rounds])
        table.row(
            load=name,
            rerank_p50=p50,
            p50_ratio=p50 / alone if p50 else None,
            slowest=max(ms for phase in rounds for ms in phase.query_ms) if p50 else None,
            ingest_tokens_s=ingested or None,
            ingest_loss=f"{100 * (1 - ingested / full):.0f} %" if ingested else None,
            health_p99=median([percentile(phase.health_ms, 99) for phase in rounds]),
        )
    report.finish()


def _ask(server: OursBgeM3, path: str, body: bytes, phase: Phase, stop: threading.Event) -> None:
    with connected(server) as connection:
        while not stop.wait(PAUSE_S):
            phase.query_ms.append(timed(connection, "POST", path, body))


if __name__ == "__main__":
    main()
