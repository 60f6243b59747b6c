"""Without a GPU nobody downloads gigabytes of CUDA, and pip goes first where it can."""

import pytest

from scripts.torch_build import TorchBuild, choose_torch_build, packages_in

CPU_REPORT = {
    "version": "1",
    "install": [{"metadata": {"name": name}} for name in ("torch", "filelock", "Jinja2", "sympy", "networkx")],
}
CUDA_REPORT = {
    "version": "1",
    "install": [{"metadata": {"name": name}} for name in ("torch", "nvidia-cudnn-cu13", "triton", "sympy")],
}


def test_pip_installs_torch_where_it_finds_a_cpu_build() -> None:
    assert choose_torch_build("cpu", lambda: packages_in(CPU_REPORT)) is TorchBuild.CPU_BY_PIP


def test_pip_is_enough_where_torch_is_installed_already() -> None:
    assert choose_torch_build("cpu", lambda: packages_in({"install": []})) is TorchBuild.CPU_BY_PIP


@pytest.mark.parametrize("package", ["nvidia-cublas", "cuda-toolkit", "triton", "NVIDIA-nccl-cu13"])
def test_uv_gets_the_cpu_build_where_pip_would_bring_cuda(package: str) -> None:
    assert choose_torch_build("cpu", lambda: ["torch", package]) is TorchBuild.CPU_BY_UV


def test_a_whole_report_with_cuda_is_recognized() -> None:
    assert choose_torch_build("cpu", lambda: packages_in(CUDA_REPORT)) is TorchBuild.CPU_BY_UV


def test_with_a_gpu_pip_is_not_asked() -> None:
    assert choose_torch_build("cuda", lambda: pytest.fail("asked")) is TorchBuild.CUDA
