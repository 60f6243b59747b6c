"""Latency of single queries while a fine-tuning job runs, beside the idle server's.

python -m benchmarks.training_latency [--size small] [--rounds 5]
"""

import argparse
import http.client
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import orjson

from benchmarks.checkpoints import CACHE, E5_SHAPES, e5_checkpoint
from benchmarks.latency import Phase, percentile, run
from benchmarks.report import Report, median
from benchmarks.servers import Ours
from benchmarks.texts import ragged_texts

N_PAIRS = 4000
ROUTES = ("/fine-tune", "/fine-tune-lora")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(E5_SHAPES), default="small")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checkpoint = e5_checkpoint(options.size)
    texts = [text.bare for text in ragged_texts(2 * N_PAIRS, checkpoint)]
    pairs = "\n".join(f"{query}\t{passage}" for query, passage in zip(texts[::2], texts[1::2], strict=True))
    phases: dict[str, list[Phase]] = {"idle": [], **{route: [] for route in ROUTES}}
    shutil.rmtree(CACHE / ".training", ignore_errors=True)
    with Ours(checkpoint) as server:
        run(server, [], queries=True, seconds=2)
        for _ in range(options.rounds):
            phases["idle"].append(run(server, [], queries=True))
            for route in ROUTES:
                with job(server, route, pairs):
                    phases[route].append(run(server, [], queries=True))
    report(options.size, phases)


def report(size: str, phases: dict[str, list[Phase]]) -> None:
    """Medians over the rounds, and the ratio to the idle server's."""
    report = Report("training_latency", "Latency during a training")
    table = report.table(
        f"Single queries, multilingual-e5-{size}'s shape served and trained",
        note=f"Milliseconds; medians of {len(phases['idle'])} rounds, {percentile_note(phases)}.",
    )
    idle = median([percentile(phase.query_ms, 99) for phase in phases["idle"]])
    for name, rounds in phases.items():
        p99 = median([percentile(phase.query_ms, 99) for phase in rounds])
        table.row(
            during=name,
            query_p50=median([percentile(phase.query_ms, 50) for phase in rounds]),
            query_p99=p99,
            p99_ratio=p99 / idle,
            health_p99=median([percentile(phase.health_ms, 99) for phase in rounds]),
        )
    report.finish()


def percentile_note(phases: dict[str, list[Phase]]) -> str:
    """How many queries a round's percentiles are taken of."""
    return f"about {len(phases['idle'][0].query_ms)} queries each"


@contextmanager
def job(server: Ours, route: str, pairs: str) -> Iterator[None]:
    """A job that trains throughout the block."""
    name = f"trained-{time.monotonic_ns()}"
    body = {"text_content": pairs, "model_name": name, "eval_fraction": 0, "epochs": 100}
    job_id = _ask(server, "POST", route, body | ({"use_qlora": False} if route == "/fine-tune-lora" else {}))["job_id"]
    while (status := _ask(server, "GET", f"/train-status/{job_id}"))["steps"] == 0:
        if status["status"] not in ("pending", "running"):
            raise RuntimeError(f"the job does not train: {status}")
        time.sleep(0.5)
    try:
        yield
    finally:
        _ask(server, "POST", f"/training-jobs/{job_id}/cancel")
        _ask(server, "DELETE", f"/training-jobs/{job_id}")


def _ask(server: Ours, method: str, path: str, body: object = None) -> dict[str, str | int]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        connection.request(method, path, orjson.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer: dict[str, str | int] = orjson.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer


if __name__ == "__main__":
    main()
