"""What a GPU makes of texts and pages: its peak, tokens and pages a second, and their share of the peak.

    python -m benchmarks.gpu [--only texts|pages] [--device cuda:1] [--dtype float16]
    python -m benchmarks.gpu --device cpu --tiny

The second runs all of it in a minute on any machine, with the smallest shapes, to see that it works. docs/gpu.md says
how to run the first where torch is installed already.
"""

import argparse
import sys
from pathlib import Path
from tempfile import gettempdir

import torch

from benchmarks.gpu_pages import measure_pages
from benchmarks.gpu_setting import Setting, measure_peak
from benchmarks.gpu_texts import measure_texts
from benchmarks.report import RESULTS, Report

GOALS = "Goals on an H200: 60 % of the peak for full texts over HTTP, 45 % for pages."
NO_GPU = (
    "There is no NVIDIA GPU here, or torch was built without CUDA: nothing was measured. "
    "To see that the benchmark runs: python -m benchmarks.gpu --device cpu --tiny"
)


def main() -> None:
    """Measure everything, or the part that was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", help="default: bfloat16 on a GPU, float32 on a CPU")
    parser.add_argument("--tiny", action="store_true", help="smallest shapes, to see that it runs")
    parser.add_argument("--only", choices=["texts", "pages"])
    arguments = parser.parse_args()
    on_gpu = arguments.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        sys.exit(NO_GPU)
    setting = Setting(arguments.device, arguments.dtype or ("bfloat16" if on_gpu else "float32"), arguments.tiny)
    measure(setting, arguments.only)


def measure(setting: Setting, only: str | None) -> None:
    """Write `gpu.json`, `gpu_texts.json` or `gpu_pages.json`; tiny ones elsewhere, lest they be taken for real."""
    folder = Path(gettempdir()) / "manyvec-benchmarks" if setting.tiny else RESULTS
    name = torch.cuda.get_device_name(setting.device) if setting.device.startswith("cuda") else "CPU"
    title = f"{name}, {setting.dtype}{', tiny' if setting.tiny else ''}"
    report = Report(f"gpu_{only}" if only else "gpu", title, folder)
    table = report.table("Peak: products of square matrices", GOALS)
    peak = measure_peak(setting, table)
    report.show(table)
    if only != "pages":
        measure_texts(setting, peak, report)
    if only != "texts":
        measure_pages(setting, peak, report)
    print(f"Written to {report.finish()}")


if __name__ == "__main__":
    main()
