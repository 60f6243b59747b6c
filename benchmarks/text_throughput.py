"""Texts into dense vectors over HTTP, beside other servers and beside libraries that are called directly.

    .venv/bin/python -m benchmarks.text_throughput [--quick | --full] [small] [base] [large]

Everyone gets the same weights, texts and threads (its own defaults on this machine); a model of each runs in a
process of its own, and they take turns in every round. Tokens are the real ones: prefix and special tokens
included, padding not. Libraries have no HTTP to pay for: where there is one connection they are called once a request,
where there is the most of them, with one text each, once with all texts.
"""

import argparse
import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.families.encoders import multiplies_bfloat16
from benchmarks.checkpoints import E5_SHAPES, e5_checkpoint
from benchmarks.peers.client import Engine
from benchmarks.report import ROOT, Report, Table, interleaved, median
from benchmarks.servers import Infinity, InfinityOnnx, LitServe, Ours, OursBfloat16, OursInt8, Server
from benchmarks.texts import Text, n_tokens, ragged_texts

OUR_BATCHES = "onnxruntime-budget"
"""Not how anybody's library or server does it, but what remains of our lead if it did; stands beside the peers."""

LESS_PRECISE: dict[str, tuple[type[Server], Sequence[str]]] = {
    "int8": (OursInt8, ("onnxruntime-int8", "openvino-int8", "openvino-static-int8")),
    "bfloat16": (OursBfloat16, ("openvino-bfloat16",)),
}
"""Ours and the fastest libraries by dtype, compared with each other alone."""

MANY = 64
MIN_COSINE = 0.9999


@dataclass(frozen=True, slots=True)
class Cell:
    """How the client asks."""

    connections: int
    request_size: int
    n_texts: int
    rounds: int = 5

    def requests(self, texts: Sequence[Text]) -> list[Sequence[Text]]:
        chosen = texts[: self.n_texts]
        return [chosen[start : start + self.request_size] for start in range(0, self.n_texts, self.request_size)]

    def calls(self, texts: Sequence[Text]) -> list[Sequence[Text]] | None:
        """How a library is called with the same texts; None where that would be no comparison."""
        if self.connections == 1:
            return self.requests(texts)
        return [texts[: self.n_texts]] if (self.connections, self.request_size) == (MANY, 1) else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured of one shape."""

    cells: Sequence[Cell]
    servers: Sequence[type[Server]] = (Infinity, InfinityOnnx, LitServe)
    libraries: Sequence[str] = ("sentence-transformers", "onnxruntime", "openvino", "fastembed")


GRID = Cell(1, 1, 96), Cell(8, 1, 48), Cell(MANY, 1, MANY), Cell(1, 32, 32), Cell(8, 32, 256)
QUICK = {"small": Plan((Cell(1, 1, 8), Cell(MANY, 1, MANY)))}
USUAL = {
    "small": Plan(GRID),
    # The larger ones beside those that were the fastest on the small one, and the one that everybody knows.
    "base": Plan(GRID, (InfinityOnnx,), ("sentence-transformers", "openvino")),
    "large": Plan(GRID, (InfinityOnnx,), ("openvino",)),
}
"""An hour on two cores, most of it spent in the peers."""
FULL = {shape: replace(plan, cells=(*plan.cells, Cell(MANY, 32, MANY * 32))) for shape, plan in USUAL.items()}
"""Where the last cell takes two and a half hours more."""


def main() -> None:
    """Measure the chosen shapes, one report each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shapes", nargs="*", metavar="shape", help="of " + ", ".join(E5_SHAPES))
    parser.add_argument("--quick", dest="plan", action="store_const", const=QUICK, default=USUAL, help="two minutes")
    parser.add_argument("--full", dest="plan", action="store_const", const=FULL, help="every cell: hours")
    arguments = parser.parse_args()
    for shape in arguments.shapes or arguments.plan:
        measure(shape, arguments.plan[shape])


def measure(shape: str, plan: Plan) -> None:
    """Write `text_throughput_<shape>.json`."""
    checkpoint = e5_checkpoint(shape)
    export_for_peers(checkpoint)
    texts = ragged_texts(max(cell.n_texts for cell in plan.cells), checkpoint)
    report = Report(f"text_throughput_{shape}", f"Texts over HTTP: the shape of multilingual-e5-{shape}, float32")
    table = report.table(
        f"multilingual-e5-{shape}: tokens/s",
        f"`{OUR_BATCHES}` is ONNX Runtime under our batching, called directly; not counted as a peer.",
    )
    quality = report.table("Lowest cosine to our vectors", f"Over {MANY} texts; at least {MIN_COSINE} is asked for.")
    with ExitStack() as running:
        kinds: Sequence[type[Server]] = (Ours, *plan.servers)
        servers = [running.enter_context(kind(checkpoint)) for kind in kinds]
        libraries = [running.enter_context(Engine(name, checkpoint)) for name in (*plan.libraries, OUR_BATCHES)]
        measure_cells(report, table, plan.cells, texts, servers, libraries)
        reference = vectors_over_http(servers[0], texts[:MANY])
        compare_vectors(quality, reference, texts[:MANY], servers[1:], libraries, MIN_COSINE)
    # One after another: all models at once do not fit into every memory.
    for dtype, (ours, peers) in LESS_PRECISE.items():
        if dtype == "bfloat16" and not multiplies_bfloat16():
            continue
        table = report.table(f"multilingual-e5-{shape} in {dtype}: tokens/s")
        cells = [cell for cell in plan.cells if cell.calls(texts)]
        with ExitStack() as running:
            server = running.enter_context(ours(checkpoint))
            libraries = [running.enter_context(Engine(name, checkpoint)) for name in peers]
            measure_cells(report, table, cells, texts, [server], libraries)
            compare_vectors(quality, reference, texts[:MANY], [server], libraries, min_cosine=0)
    report.finish()


def export_for_peers(checkpoint: Path) -> None:
    """Write what libraries read in place of the checkpoint, unless it is there. Raises `RuntimeError`."""
    python = str(ROOT / ".venv-peers/bin/python")
    for module, *options in (("export_onnx", str(checkpoint), "int8"), ("export_openvino", str(checkpoint))):
        command = [python, "-m", f"benchmarks.peers.{module}", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{module} failed:\n{done.stderr[-2000:]}")


def measure_cells(
    report: Report,
    table: Table,
    cells: Sequence[Cell],
    texts: Sequence[Text],
    servers: Sequence[Server],
    libraries: Sequence[Engine],
) -> None:
    """A row a cell; the first of the servers is ours."""
    warm_up(texts[:8], servers, libraries)
    ours = servers[0].name
    for cell in cells:
        seconds = measure_cell(cell, texts, servers, libraries)
        report.raw[f"{ours} {cell.connections}x{cell.request_size}"] = seconds
        rates = {name: n_tokens(texts[: cell.n_texts]) / median(rounds) for name, rounds in seconds.items()}
        add_row(table, cell, ours, rates)
        report.show(table)


def warm_up(texts: Sequence[Text], servers: Sequence[Server], libraries: Sequence[Engine]) -> None:
    """Let everyone allocate what it keeps."""
    for server in servers:
        server.embed([texts], 1)
    for library in libraries:
        library.embed([texts])


def measure_cell(
    cell: Cell, texts: Sequence[Text], servers: Sequence[Server], libraries: Sequence[Engine]
) -> dict[str, list[float]]:
    """Seconds of every round of everyone who takes part."""

    def over_http(server: Server) -> Callable[[], object]:
        return lambda: server.embed(cell.requests(texts), cell.connections)

    def called(library: Engine, calls: Sequence[Sequence[Text]]) -> Callable[[], object]:
        return lambda: library.embed(calls)

    ways = {server.name: over_http(server) for server in servers}
    if calls := cell.calls(texts):
        ways |= {library.name: called(library, calls) for library in libraries}
    return interleaved(ways, rounds=cell.rounds, warmup=0)


def add_row(table: Table, cell: Cell, ours: str, rates: dict[str, float]) -> None:
    """Tokens a second of everyone, and how far ours is before the best peer."""
    best = max((name for name in rates if name not in (ours, OUR_BATCHES)), key=lambda name: rates[name])
    table.row(
        connections=cell.connections,
        texts_a_request=cell.request_size,
        ours=rates[ours],
        best_peer=best,
        ratio=rates[ours] / rates[best],
        **{name: rate for name, rate in rates.items() if name != ours},
    )


def compare_vectors(
    table: Table,
    reference: NDArray[np.float32],
    texts: Sequence[Text],
    servers: Sequence[Server],
    libraries: Sequence[Engine],
    min_cosine: float,
) -> None:
    """A row for each. Raises `RuntimeError` if one computes something else: then the figures compare nothing."""
    found = {server.name: vectors_over_http(server, texts) for server in servers}
    for library in libraries:
        library.embed([texts], save=True)
        found[library.name] = np.load(library.saved)
    for name, vectors in found.items():
        cosine = float((reference * vectors).sum(axis=1).min())
        table.row(peer=name, lowest_cosine=f"{cosine:.7f}")
        if cosine < min_cosine:
            raise RuntimeError(f"{name} computes other vectors than ours: cosine {cosine}")


def vectors_over_http(server: Server, texts: Sequence[Text]) -> NDArray[np.float32]:
    """[n_texts, dim] of unit length."""
    _, answers = server.embed([[text] for text in texts], 8)
    vectors = np.array([server.vectors(json.loads(answer))[0] for answer in answers], np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
