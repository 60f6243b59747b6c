"""Pages on a GPU: a model of ColQwen2.5-3B's shape with random weights, bare and over HTTP."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.initialization import no_init_weights

from app.core.types import ImageInput
from app.families.base import Checkpoint, EmbeddingModel, Prepared
from app.families.colqwen2_5 import ColQwen2_5Model
from app.starter.visual import QWEN2_5_VISION, QWEN_TEXT, build_colqwen2_5
from benchmarks.checkpoints import CACHE
from benchmarks.gpu_setting import GpuServer, Setting, batches, built, share
from benchmarks.load import Address, drive
from benchmarks.report import Report, interleaved, median
from benchmarks.visual_pages import encoded, page

TEXT_3B = {
    **QWEN_TEXT,
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128_000,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}
VISION_3B = {
    **QWEN2_5_VISION,
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
"""Of Qwen2.5-VL-3B's configuration; the vocabulary is the starter's, of which nothing is computed."""

WIDTH, HEIGHT = 672, 896
"""Pixels of a page of 24 x 32 = 768 visual tokens, the most that ColQwen reads; whole windows each way."""
TINY_WIDTH, TINY_HEIGHT = 112, 112
PAGES_A_REQUEST = 4
N_PAGES, N_PAGES_OVER_HTTP, TINY_PAGES = 80, 384, 16
"""Over HTTP more, so that a round is not all beginning and end."""
N_UNLIKE = 16
"""Pages that differ; the rest are the same again."""
BOUNDARY = "a-page-follows"


class PageServer(GpuServer):
    """ColQwen2.5 over `/embed/images`."""

    family = "colqwen2.5"

    def embed_pages(self, bodies: Sequence[bytes], connections: int) -> None:
        address = Address(self.port, "/embed/images?model=model", f"multipart/form-data; boundary={BOUNDARY}")
        drive(address, bodies, connections)


def measure_pages(setting: Setting, peak: float, report: Report) -> None:
    """One table."""
    checkpoint = page_checkpoint(setting)
    size = (TINY_WIDTH, TINY_HEIGHT) if setting.tiny else (WIDTH, HEIGHT)
    n_pages, n_sent = (TINY_PAGES, TINY_PAGES) if setting.tiny else (N_PAGES, N_PAGES_OVER_HTTP)
    pages = [page(seed, *size) for seed in range(N_UNLIKE)]
    model = ColQwen2_5Model.load(Checkpoint(checkpoint), setting.options)
    items = [model.prepare_image(ImageInput(b""), image) for image in pages] * (n_pages // N_UNLIKE)
    groups = list(batches(items, setting.batch_tokens))
    bodies = [form(part) for part in parts([encoded(image, "JPEG") for image in pages], n_sent)]
    with PageServer(checkpoint, setting) as server:
        over_http = partial(server.embed_pages, bodies, setting.connections)
        ways = {"over HTTP": (over_http, n_sent), "the bare model": (partial(encode_all, model, groups), n_pages)}
        seconds = interleaved({name: run for name, (run, _) in ways.items()}, rounds=setting.rounds)
    report.raw["pages"] = seconds
    grid = model.patch_grid(*size)
    table = report.table(
        f"{'ColQwen2.5, smallest' if setting.tiny else 'ColQwen2.5-3B'}, {setting.dtype}",
        f"Pages of {grid.n_patches} visual tokens, {items[0].n_tokens} in all, "
        f"{page_flops(model, items[0]) / 1e12:.3g} TFLOP each; over HTTP as JPEG, {PAGES_A_REQUEST} a request, "
        f"{setting.connections} connections; attention: {model.info.attention}.",
    )
    useful = page_flops(model, items[0])
    for name, (_, n) in ways.items():
        s = median(seconds[name]) / n
        table.row(way=name, pages_per_s=1 / s, ms_a_page=1000 * s, share_of_peak=share(useful, s, peak))
    report.show(table)
    model.close()


def encode_all(model: EmbeddingModel, groups: Sequence[Sequence[Prepared]]) -> None:
    """Results are let go at once, as a server does when it has answered."""
    for group in groups:
        model.encode(group)


def parts(files: Sequence[bytes], n_pages: int) -> list[list[bytes]]:
    """The files in turn, `PAGES_A_REQUEST` together."""
    return [[files[(at + i) % len(files)] for i in range(PAGES_A_REQUEST)] for at in range(0, n_pages, PAGES_A_REQUEST)]


def form(files: Sequence[bytes]) -> bytes:
    """The body of an upload."""
    head = b'--%b\r\nContent-Disposition: form-data; name="files"; filename="page.jpg"\r\n\r\n' % BOUNDARY.encode()
    return b"".join(head + file + b"\r\n" for file in files) + b"--%b--\r\n" % BOUNDARY.encode()


def page_checkpoint(setting: Setting) -> Path:
    """The folder of the 3B model (7 GB, a few minutes to build), or of the smallest; built if it is not there yet."""
    if setting.tiny:
        return built(CACHE / "colqwen2.5-tiny", build_colqwen2_5)
    return built(CACHE / "colqwen2.5-3b", partial(build_3b, setting.device))


def build_3b(device: str, folder: Path) -> None:
    """In bfloat16, as published: 14 GB in float32 would be halved anyway when they are loaded."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        # Every weight is drawn right after, and once: on a GPU in no time.
        with no_init_weights(), torch.device(device):
            build_colqwen2_5(folder, TEXT_3B, VISION_3B, draw)
    finally:
        torch.set_default_dtype(usual)


def draw(module: nn.Module, seed: int) -> None:
    """Weights that keep the size of what goes through them; in place, on the module's device."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            else:
                parameter.normal_(1, 0.1)


def page_flops(model: ColQwen2_5Model, item: Prepared) -> int:
    """Useful operations for one page: a product and a sum for every weight that a token meets, and attention.

    Attention takes 4 * queries * keys * width: windows count themselves alone, the causal language model half.
    Norms, activations, softmax and positions are not counted, nor the half of the patch embedding that is not computed.
    """
    config: Any = model.module.config
    n_patches = len(item.inputs["pixels"])
    return vision_flops(config.vision_config, n_patches) + language_flops(config.text_config, item.n_tokens, model)


def vision_flops(vision: Any, n: int) -> int:
    """Of the vision tower for `n` patches in whole windows."""
    h, merge = vision.hidden_size, vision.spatial_merge_size**2
    embedding = 2 * n * (3 * vision.patch_size**2) * h
    linear = 2 * n * (4 * h * h + 3 * h * vision.intermediate_size) * vision.depth
    n_whole = len(vision.fullatt_block_indexes)
    window = min(n, (vision.window_size // vision.patch_size) ** 2)
    attention = 4 * n * h * (n * n_whole + window * (vision.depth - n_whole))
    merger = 2 * (n // merge) * (merge * h) * (merge * h + vision.out_hidden_size)
    return int(embedding + linear + attention + merger)


def language_flops(text: Any, n: int, model: ColQwen2_5Model) -> int:
    """Of the language model and the projection for `n` tokens."""
    h = text.hidden_size
    key_width = h // text.num_attention_heads * text.num_key_value_heads
    weights = 2 * h * h + 2 * h * key_width + 3 * h * text.intermediate_size
    attention = 4 * n * n * h // 2
    return int(text.num_hidden_layers * (2 * n * weights + attention) + 2 * n * h * model.info.dim)
