"""How fine-tuned models are served beside those of the models file."""

from dataclasses import replace

import pytest

from app.engine.config import ModelConfig
from app.training.published import computed_like, with_published

BASE = ModelConfig("e5", "e5", "org/e5", device="cuda:1", dtype="bfloat16", backend="torch")
OTHER = ModelConfig("other", "e5", "org/other", dtype="int8")
PAGES = ModelConfig("pages", "colpali", "org/pages", dtype="float16")


def settings(config: ModelConfig) -> tuple[str | None, str | None, str]:
    return config.device, config.dtype, config.backend


@pytest.mark.parametrize(
    ("tuned", "like"),
    [
        (ModelConfig("mine", "e5", "mine", base_model="e5"), BASE),
        (ModelConfig("other", "e5", "other", base_model="e5"), OTHER),
        (ModelConfig("pages", "e5", "pages", base_model="e5"), BASE),
        (ModelConfig("mine", "e5", "mine", base_model="pages"), None),
        (ModelConfig("mine", "e5", "mine", base_model="gone"), None),
        (ModelConfig("mine", "e5", "mine"), None),
    ],
)
def test_a_fine_tuned_model_is_computed_as_what_it_replaces_or_else_as_its_base(
    tuned: ModelConfig, like: ModelConfig | None
) -> None:
    served = computed_like([BASE, OTHER, PAGES], tuned)
    assert settings(served) == settings(like or tuned)
    assert replace(served, device=None, dtype=None, backend="auto") == tuned


def test_it_takes_the_place_of_a_model_of_its_name() -> None:
    tuned = ModelConfig("other", "e5", "other", base_model="e5")
    names = [(config.name, config.checkpoint) for config in with_published([BASE, OTHER, PAGES], [tuned])]
    assert names == [("e5", "org/e5"), ("other", "other"), ("pages", "org/pages")]


def test_a_model_that_comes_before_its_base_in_the_alphabet_is_computed_as_that_too() -> None:
    first = ModelConfig("b", "e5", "b", base_model="e5")
    second = ModelConfig("a", "e5", "a", base_model="b")
    of_each_other = [ModelConfig(name, "e5", name, base_model=base) for name, base in (("x", "y"), ("y", "x"))]
    served = with_published([BASE], [second, first, *of_each_other])
    assert [config.name for config in served] == ["e5", "a", "b", "x", "y"]
    assert [settings(config) for config in served[:3]] == [settings(BASE)] * 3
