"""What all tests share: those marked `gpu` are skipped, with the reason, where there is no NVIDIA GPU."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the skip."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
