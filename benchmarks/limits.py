"""How far the server is from the machine's limit: the share of its matrix peak, and what HTTP costs.

    .venv/bin/python -m benchmarks.limits [small] [base] [large]

The peak is that of float32 products in the sizes of the model's own linear layers, 1024 tokens at once, with all
threads, by the faster of torch's libraries: MKL, or oneDNN with packed weights.
What is counted as useful: the products of the linear layers and of attention for real tokens; neither padding nor
anything else.
"""

import argparse
import os
from collections.abc import Callable, Sequence

import torch
from torch import nn

from app.core.types import Embedding, Role, TextInput
from app.families.base import Checkpoint, LoadOptions, Prepared
from app.families.e5 import E5Model
from app.families.onednn import pack_linears
from app.starter.text import EncoderShape
from benchmarks.batches import batches_by_length
from benchmarks.checkpoints import E5_SHAPES, e5_checkpoint
from benchmarks.report import Report, Table, interleaved, median
from benchmarks.servers import Ours
from benchmarks.texts import Text, n_tokens, ragged_texts

BATCH_TOKENS = 1024
"""What the engine brings together on a CPU."""
CONNECTIONS = 64
N_TEXTS = {"small": 192, "base": 96, "large": 64}
ROUNDS = 5
REPEATS = 10
"""Of the linear layers in one measurement of the peak."""


def main() -> None:
    """Measure the chosen shapes, one row each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shapes", nargs="*", metavar="shape", default=["large"], help="of " + ", ".join(E5_SHAPES))
    shapes = parser.parse_args().shapes
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    report = Report("limits", "Distance to the limit, float32")
    table = report.table(
        "Texts over HTTP against the bare model and the peak",
        f"{CONNECTIONS} connections, requests of one text; {torch.get_num_threads()} threads; "
        "the bare model gets the same texts tokenized, in batches of at most "
        f"{BATCH_TOKENS} tokens, in a loop.",
    )
    for shape in shapes:
        measure(shape, table, report)
    report.finish()


def measure(size: str, table: Table, report: Report) -> None:
    """Add the row of one shape."""
    checkpoint, shape = e5_checkpoint(size), E5_SHAPES[size]
    texts = ragged_texts(N_TEXTS[size], checkpoint)
    model = E5Model.load(Checkpoint(checkpoint), LoadOptions())
    batches = prepared_batches(model, texts)
    with Ours(checkpoint) as server:
        ways = {
            "onednn": gemm(shape, pack=True),
            "mkl": gemm(shape, pack=False),
            "model": lambda: encode(model, batches),
            "http": lambda: server.embed([[text] for text in texts], CONNECTIONS),
        }
        seconds = interleaved(ways, rounds=ROUNDS)
    report.raw[size] = seconds
    useful = sum(flops(shape, text.n_tokens) for text in texts)
    peak = gemm_flops(shape) / min(*seconds["onednn"], *seconds["mkl"])
    http, bare = median(seconds["http"]), median(seconds["model"])
    table.row(
        shape=f"multilingual-e5-{size}",
        peak_gflops=peak / 1e9,
        http_tokens_per_s=n_tokens(texts) / http,
        model_tokens_per_s=n_tokens(texts) / bare,
        share_of_peak=f"{useful / http / peak:.0%}",
        models_share=f"{useful / bare / peak:.0%}",
        http_cost=f"{http / bare - 1:+.1%}",
    )


def flops(shape: EncoderShape, n: int) -> int:
    """Of one text of `n` tokens: a product and a sum each for every weight, and for every pair of tokens twice."""
    weights = (4 + 2 * shape.inner_factor) * shape.dim**2
    return shape.n_layers * (2 * n * weights + 4 * n * n * shape.dim)


def linear_sizes(shape: EncoderShape) -> list[tuple[int, int]]:
    """(inputs, outputs) of the linear layers in one layer of the encoder."""
    dim, inner = shape.dim, shape.inner_factor * shape.dim
    return [*[(dim, dim)] * 4, (dim, inner), (inner, dim)]


def gemm_flops(shape: EncoderShape) -> int:
    """Of one call of `gemm`."""
    return REPEATS * sum(2 * BATCH_TOKENS * inputs * outputs for inputs, outputs in linear_sizes(shape))


def gemm(shape: EncoderShape, *, pack: bool) -> Callable[[], None]:
    """Runs the linear layers of one layer of the encoder on a full batch, and nothing between them."""
    layers = [nn.Sequential(nn.Linear(inputs, outputs)) for inputs, outputs in linear_sizes(shape)]
    inputs = [torch.randn(BATCH_TOKENS, n_inputs) for n_inputs, _ in linear_sizes(shape)]
    for layer in layers:
        layer.requires_grad_(False)
        if pack:
            pack_linears(layer)

    def run() -> None:
        for _ in range(REPEATS):
            for layer, x in zip(layers, inputs, strict=True):
                layer(x)

    return run


def prepared_batches(model: E5Model, texts: Sequence[Text]) -> list[list[Prepared]]:
    """As many texts of near-equal lengths as the engine takes at once."""
    items = [model.prepare_text(TextInput(text.bare, Role.DOCUMENT)) for text in texts]
    return batches_by_length(items, lambda item: item.n_tokens, BATCH_TOKENS)


def encode(model: E5Model, batches: Sequence[Sequence[Prepared]]) -> list[Embedding]:
    """All of them, one batch after another."""
    return [embedding for batch in batches for embedding in model.encode(batch)]


if __name__ == "__main__":
    main()
