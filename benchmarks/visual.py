"""Pages: preparing them beside transformers' own image processors, the models, and pages per second over HTTP.

.venv-oracle/bin/python -m benchmarks.visual [--rounds 5] [--only preparing|models|batches|http]

It runs in the environment of the reference libraries, where transformers' processors find torchvision; the server that
it starts runs in the server's own.
"""

import tests.parity.oracle.missing_operators  # noqa: F401, I001 - before anything that imports torchvision

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from io import BytesIO
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import linear

from app.core.images import decode_image
from app.core.types import ImageInput
from app.families.base import Checkpoint, LoadOptions, Prepared
from app.families.catalog import CATALOG, load_class
from app.families.onednn import OneDnnLinear
from app.families.qwen_vl import QwenVisualModel
from benchmarks.report import Report, interleaved, median, ratio
from benchmarks.visual_checkpoints import MIDDLE, visual_checkpoint
from benchmarks.visual_pages import encoded, page
from benchmarks.visual_server import PageServer

MAX_PIXELS = 40_000_000
CLIENTS = 8
UNEVEN_SIZES = [(1240, 1754), (800, 600), (1600, 400), (500, 500)]

PROCESSORS = {
    "colqwen2.5": ("qwen2_vl", "Qwen2VLImageProcessor"),
    "colpali": ("siglip", "SiglipImageProcessor"),
    "dinov3": ("dinov3_vit", "DINOv3ViTImageProcessor"),
}
"""Family -> folder and class under transformers.models; ColQwen2 has the same as ColQwen2.5."""

PAGES_A_ROUND = {"colqwen2.5": 32, "colqwen2": 32, "colpali": 32, "dinov3": 32, MIDDLE: 16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    sections = {"preparing": preparing, "models": models, "batches": batches, "http": http}
    parser.add_argument("--only", choices=list(sections), action="append")
    options = parser.parse_args()
    name = "_".join(["visual", *(options.only or [])])
    report = Report(name, "Pages through the visual models")
    for section in options.only or sections:
        sections[section](report, options.rounds)
    report.finish()


def preparing(report: Report, rounds: int) -> None:
    """Decode, resize, normalize and patchify one page on one core, ours and transformers'."""
    torch.set_num_threads(1)
    image = page()
    decoding = report.table("Decoding one page of 1240 x 1754 pixels", note="Milliseconds on one core.")
    for file_format in ("PNG", "JPEG"):
        file = encoded(image, file_format)
        ways = {"ours": lambda f=file: decode_image(f, "page", MAX_PIXELS), "Pillow": lambda f=file: _decode(f)}
        ms = _in_ms(interleaved(ways, rounds=4 * rounds))
        decoding.row(file=file_format, kB=len(file) // 1000, ours=ms["ours"], Pillow_alone=ms["Pillow"])
    table = report.table(
        "From a decoded page to what the model reads",
        note="Milliseconds on one core, resizing to numbers included; ours with the part that the model's thread does.",
    )
    for family in PROCESSORS:
        model = _load(family)
        ways = {"ours": partial(_pixel_values, model, image), **_processors(family, model, image)}
        seconds = interleaved(ways, rounds=4 * rounds, warmup=2)
        ms = _in_ms(seconds)
        table.row(
            family=family,
            ours=ms["ours"],
            torchvision_processor=ms["torchvision"],
            ratio=ratio(seconds["torchvision"], seconds["ours"]),
            PIL_processor=ms.get("PIL"),
            waiting_MB=_waiting_mb(_prepare(model, image)),
            processor_MB=sum(value.nbytes for value in ways["torchvision"]().values()) / 1e6,
        )
    torch.set_num_threads(2)


def models(report: Report, rounds: int) -> None:
    """One page through the model as we compute it, and through the same modules as transformers has them."""
    table = report.table(
        "The model alone, one page at a time",
        note=f"Milliseconds a page on {torch.get_num_threads()} cores; transformers': linear layers by MKL, Conv3d.",
    )
    for name in PAGES_A_ROUND:
        model, plain = _load(name), _as_transformers_has_it(_load(name))
        batch = [_prepare(model, page())]
        ways = {"ours": lambda m=model, b=batch: m.encode(b), "plain": lambda m=plain, b=batch: m.encode(b)}
        seconds = interleaved(ways, rounds=2 * rounds)
        ours, theirs = model.encode(batch)[0].multi_vector, plain.encode(batch)[0].multi_vector
        ms = _in_ms(seconds)
        table.row(
            model=name,
            tokens=batch[0].n_tokens,
            ours=ms["ours"],
            transformers_modules=ms["plain"],
            ratio=ratio(seconds["plain"], seconds["ours"]),
            max_difference=f"{abs(ours.vectors - theirs.vectors).max():.1e}",
        )


def batches(report: Report, rounds: int) -> None:
    """The same four pages one by one and as one batch: pages of one size, and of four sizes."""
    table = report.table("Pages in a batch", note="Milliseconds a page for four pages on the CPU.")
    for name in ("colqwen2.5", "colpali", MIDDLE):
        model = _load(name)
        even = [_prepare(model, page(seed)) for seed in range(len(UNEVEN_SIZES))]
        uneven = [_prepare(model, page(seed, *size)) for seed, size in enumerate(UNEVEN_SIZES)]
        for label, pages in (("one", even), ("four", uneven)):
            ways = {
                "alone": lambda m=model, p=pages: [m.encode([one]) for one in p],
                "together": lambda m=model, p=pages: m.encode(p),
            }
            seconds = interleaved(ways, rounds=rounds)
            ms = {way: value / len(pages) for way, value in _in_ms(seconds).items()}
            table.row(model=name, sizes=label, **ms, ratio=ratio(seconds["together"], seconds["alone"]))


def http(report: Report, rounds: int) -> None:
    """Pages a second over HTTP from 8 clients, and the share of the time in which the model computes."""
    table = report.table(
        "Over HTTP",
        note=f"{CLIENTS} clients, a JPEG page of 1240 x 1754 pixels a request, answers in JSON; medians of {rounds} "
        "rounds. Busy: the model's share of the time.",
    )
    for name, n_pages in PAGES_A_ROUND.items():
        files = [encoded(page(seed), "JPEG") for seed in range(8)] * (n_pages // 8)
        with PageServer(visual_checkpoint(name), _family(name)) as server:
            server.embed_pages(files[:8], CLIENTS)
            runs = [server.embed_pages(files, CLIENTS) for _ in range(rounds)]
        table.row(
            model=name,
            pages_a_second=median([n_pages / seconds for seconds, _ in runs]),
            ms_a_page=median([1000 * seconds / n_pages for seconds, _ in runs]),
            busy=f"{100 * median([busy / seconds for seconds, busy in runs]):.0f} %",
        )


def _load(name: str) -> Any:
    return load_class(CATALOG[_family(name)]).load(Checkpoint(visual_checkpoint(name)), LoadOptions())


def _family(name: str) -> str:
    return "colqwen2.5" if name == MIDDLE else name


def _prepare(model: Any, image: Image.Image) -> Prepared:
    prepared: Prepared = model.prepare_image(ImageInput(b""), image)
    return prepared


def _pixel_values(model: Any, image: Image.Image) -> Tensor:
    """What the module gets for the image."""
    prepared = _prepare(model, image)
    if "pixel_values" in prepared.inputs:
        return prepared.inputs["pixel_values"]
    return model.pixel_values([prepared])


def _waiting_mb(prepared: Prepared) -> float:
    return sum(value.nbytes for value in prepared.inputs.values() if isinstance(value, Tensor)) / 1e6


def _processors(family: str, model: Any, image: Image.Image) -> dict[str, Callable[[], Any]]:
    """transformers' processors for the family: by torchvision and, where there is one, by Pillow."""
    folder, name = PROCESSORS[family]
    modules = {
        "torchvision": (f"image_processing_{folder}", name),
        "PIL": (f"image_processing_pil_{folder}", f"{name}Pil"),
    }
    if family == "dinov3":
        del modules["PIL"]
    options: dict[str, Any] = {"images": [image], "return_tensors": "pt"}
    if family == "dinov3":
        height, width = _prepare(model, image).inputs["pixel_values"].shape[1:]
        options["size"] = {"height": height, "width": width}
    return {
        way: partial(_processor(f"transformers.models.{folder}.{module}", class_name, family), **options)
        for way, (module, class_name) in modules.items()
    }


def _processor(module: str, class_name: str, family: str) -> Any:
    return getattr(import_module(module), class_name).from_pretrained(visual_checkpoint(family))


def _decode(file: bytes) -> Image.Image:
    """What a caller of transformers does."""
    return Image.open(BytesIO(file)).convert("RGB")


def _in_ms(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {way: 1000 * median(rounds) for way, rounds in seconds.items()}


class _PlainLinear(nn.Module):
    """A packed layer's weights in torch's own order and product."""

    def __init__(self, packed: OneDnnLinear) -> None:
        super().__init__()
        self.weight = nn.Parameter(packed.weight.to_dense(), requires_grad=False)
        self.bias = packed.bias

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Convolution(nn.Module):
    """Qwen's patch embedding as a convolution over two equal frames."""

    def __init__(self, weight: Tensor, side: int) -> None:
        super().__init__()
        kernels = weight.view(-1, 3, 1, side, side).expand(-1, -1, 2, -1, -1) / 2
        self.convolution = nn.Conv3d(3, len(weight), kernels.shape[2:], stride=kernels.shape[2:], bias=False)
        self.convolution.weight = nn.Parameter(kernels.contiguous(), requires_grad=False)

    def forward(self, rows: Tensor) -> Tensor:
        _, _, frames, side, _ = self.convolution.weight.shape
        films = rows.view(-1, 3, 1, side, side).expand(-1, -1, frames, -1, -1)
        return self.convolution(films).flatten(1)


def _as_transformers_has_it(model: Any) -> Any:
    """Undo what loading replaces."""
    for parent in list(model.module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, OneDnnLinear):
                setattr(parent, name, _PlainLinear(child))
    if isinstance(model, QwenVisualModel):
        model.module.visual.patch_embed = _Convolution(model.module.visual.patch_embed.weight, model.info.patch_size)
    return model


if __name__ == "__main__":
    main()
