"""The ways to run a text encoder on a CPU that docs/decisions/0001, 0009 and 0013 compare.

.venv/bin/python -m benchmarks.text_ways [small] [base] [large]
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, PreTrainedModel

from app.core.types import Role, TextInput
from app.families.base import Checkpoint, LoadOptions
from app.families.e5 import E5Model
from app.families.encoders import multiplies_bfloat16
from app.families.onednn import OneDnnLinear, pack_linears
from app.families.onnx_encoder import OnnxEncoder
from app.families.openvino_encoder import OpenVinoEncoder
from app.families.packed_encoder import PackedEncoder
from benchmarks.batches import batches_by_length
from benchmarks.checkpoints import E5_SHAPES, e5_checkpoint
from benchmarks.report import Report, Table, interleaved, median
from benchmarks.texts import n_tokens, ragged_texts

N_TEXTS = {"small": 64, "base": 32, "large": 16}
ROUNDS = 5
N_THREADS = len(os.sched_getaffinity(0))

Texts = list[Tensor]
"""Token ids of each text, [n_tokens] int64."""
Encode = Callable[[Texts], list[Tensor]]
"""Of a batch: the last hidden states of each text, [n_tokens, dim]."""


def main() -> None:
    """Compare products, then encoders of the chosen shapes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shapes", nargs="*", metavar="shape", default=["base"], help="of " + ", ".join(E5_SHAPES))
    shapes = parser.parse_args().shapes
    torch.set_num_threads(N_THREADS)
    report = Report("text_ways", "Ways to run a text encoder on a CPU")
    products = report.table("Products of float32 matrices, GFLOP/s", f"{N_THREADS} threads; rows = tokens at once.")
    with torch.inference_mode():
        for size in shapes:
            compare_products(products, E5_SHAPES[size].dim)
        for size in shapes:
            compare_encoders(report.table(f"multilingual-e5-{size}, ragged texts"), size)
    report.finish()


def compare_products(table: Table, dim: int) -> None:
    """The widest layer of an encoder."""
    layer = nn.Linear(dim, 4 * dim)
    packed = OneDnnLinear(layer)
    for rows in (16, 64, 256, 1024):
        x = torch.randn(rows, dim)
        flops = 2 * rows * dim * 4 * dim
        repeats = max(1, int(5e8 / flops))
        ways = {
            "mkl": repeated(partial(linear, x, layer.weight, layer.bias), repeats),
            "onednn": repeated(partial(packed, x), repeats),
        }
        seconds = interleaved(ways, rounds=ROUNDS)
        rates = {way: flops * repeats / median(rounds) / 1e9 for way, rounds in seconds.items()}
        table.row(inputs=dim, outputs=4 * dim, rows=rows, **rates)


def repeated(function: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            function()

    return run


def compare_encoders(table: Table, size: str) -> None:
    """Every way over the same texts, and its lowest cosine to transformers' own forward pass."""
    checkpoint = e5_checkpoint(size)
    chosen = ragged_texts(N_TEXTS[size], checkpoint)
    tokenizer = E5Model.load(Checkpoint(checkpoint), LoadOptions())
    texts: Texts = [tokenizer.prepare_text(TextInput(t.bare, Role.DOCUMENT)).inputs["input_ids"] for t in chosen]

    def loaded() -> PreTrainedModel:
        return AutoModel.from_pretrained(checkpoint).eval().requires_grad_(False)

    plain = loaded()
    by_mkl = PackedEncoder(loaded())
    by_onednn = PackedEncoder(with_onednn := loaded())
    pack_linears(with_onednn)
    by_onnx, by_onnx_int8 = OnnxEncoder(loaded()), OnnxEncoder(loaded(), int8=True)
    by_openvino = OpenVinoEncoder(loaded())
    ways: dict[str, Callable[[], list[Tensor]]] = {
        "padded, 32 a batch": lambda: run(padded(plain), fixed(texts, 32)),
        "padded, sorted, 32 a batch": lambda: run(padded(plain), fixed(sorted(texts, key=len), 32)),
        "packed, 1024 tokens a batch": lambda: run(by_mkl, budget(texts, 1024)),
        "packed, 1024 tokens a batch, oneDNN": lambda: run(by_onednn, budget(texts, 1024)),
        "packed, one text at a time, oneDNN": lambda: run(by_onednn, fixed(texts, 1)),
        **{
            f"packed by length, {n} tokens a batch, ONNX Runtime": partial(run_sorted, by_onnx, texts, n)
            for n in (256, 512, 1024, 2048)
        },
        "one text at a time, ONNX Runtime": lambda: run(by_onnx, fixed(texts, 1)),
        **{
            f"packed by length, {n} tokens a batch, OpenVINO": partial(run_sorted, by_openvino, texts, n)
            for n in (512, 1024)
        },
        "one text at a time, OpenVINO": lambda: run(by_openvino, fixed(texts, 1)),
        "packed by length, 1024 tokens a batch, ONNX Runtime in int8": lambda: run_sorted(by_onnx_int8, texts, 1024),
        f"oneDNN at 1024, {N_THREADS} streams of one thread": lambda: in_streams(by_onednn, budget(texts, 1024)),
    }
    if multiplies_bfloat16():
        in_half = OpenVinoEncoder(loaded(), bfloat16=True)
        ways["one text at a time, OpenVINO in bfloat16"] = lambda: run(in_half, fixed(texts, 1))
        ways["packed, 1024 tokens a batch, OpenVINO in bfloat16"] = lambda: run(in_half, budget(texts, 1024))
        ways["packed by length, 1024 tokens a batch, OpenVINO in bfloat16"] = lambda: run_sorted(in_half, texts, 1024)
    seconds = interleaved(ways, rounds=ROUNDS)
    expected = means(run(padded(plain), fixed(texts, 1)))
    for way, rounds in seconds.items():
        # Sorted texts come back in another order.
        cosine = (
            None
            if "sorted" in way or "by length" in way
            else f"{float((means(ways[way]()) * expected).sum(axis=1).min()):.6f}"
        )
        table.row(way=way, tokens_per_s=n_tokens(chosen) / median(rounds), lowest_cosine=cosine)


def padded(encoder: PreTrainedModel) -> Encode:
    """transformers' own forward pass."""

    def encode(batch: Texts) -> list[Tensor]:
        ids = pad_sequence(batch, batch_first=True, padding_value=1)
        mask = pad_sequence([torch.ones_like(text) for text in batch], batch_first=True)
        states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return [rows[: len(text)] for rows, text in zip(states, batch, strict=True)]

    return encode


def fixed(texts: Texts, n: int) -> Iterator[Texts]:
    """`n` texts a batch."""
    return (texts[start : start + n] for start in range(0, len(texts), n))


def budget(texts: Texts, most: int) -> Iterator[Texts]:
    """At most that many tokens a batch; a longer text alone."""
    batch: Texts = []
    for text in texts:
        if batch and sum(map(len, batch)) + len(text) > most:
            yield batch
            batch = []
        batch.append(text)
    yield batch


def run_sorted(encode: Encode, texts: Texts, most: int) -> list[Tensor]:
    """By length, with at most that many tokens a batch, counted with padding."""
    return run(encode, iter(batches_by_length(texts, len, most)))


def run(encode: Encode, batches: Iterator[Texts]) -> list[Tensor]:
    return [states for batch in batches for states in encode(batch)]


def in_streams(encode: Encode, batches: Iterator[Texts]) -> list[Tensor]:
    """A thread for every core, each with a batch of its own on that core alone."""

    def one_batch(batch: Texts) -> list[Tensor]:
        with torch.inference_mode():
            return encode(batch)

    with ThreadPoolExecutor(N_THREADS, initializer=torch.set_num_threads, initargs=(1,)) as threads:
        return [states for done in threads.map(one_batch, batches) for states in done]


def means(states: Sequence[Tensor]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Unit vectors [n_texts, dim], as E5 makes them."""
    vectors = torch.stack([rows.mean(dim=0) for rows in states])
    return nn.functional.normalize(vectors, dim=-1).numpy()


if __name__ == "__main__":
    main()
