"""What page trainings are made of, and what they write, against colpali-engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.functional import normalize

from app import starter
from app.core.types import ImageInput, TextInput
from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import CATALOG, load_class
from app.families.visual_model import VisualModel
from app.training.multi_vector_loss import (
    TEMPERATURE,
    in_batch_loss,
    late_interaction_loss,
    maxsim_scores,
    normalized_scores,
    pairwise_loss,
)
from app.training.older_adapter import OlderAdapter
from app.training.options import LoraOptions
from app.training.page_adapter import add_lora, write_adapter, write_merged
from tests.parity.visual_layouts import FAMILIES
from tests.parity.visual_pictures import page, png

pytestmark = pytest.mark.parity

Rows = list[Tensor]
LOSSES: dict[str, Callable[[Rows, Rows, Tensor], Tensor]] = {
    "in batch": late_interaction_loss,
    "in batch, sums": lambda queries, pages, own: in_batch_loss(maxsim_scores(queries, pages), own),
    "pairwise": lambda queries, pages, own: pairwise_loss(maxsim_scores(queries, pages), own),
    "pairwise, means": lambda queries, pages, own: pairwise_loss(
        normalized_scores(maxsim_scores(queries, pages), queries) / TEMPERATURE, own
    ),
}
KINDS = ("lora", "merged", "again")
"""An adapter alone, the same merged into its base, and another one that was trained on top of it."""
QUERY = "What was the revenue of the third quarter?"


def unit_rows(seed: int, n: int, n_rows: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(n, n_rows, 16, generator=random), dim=-1)


BATCHES = {
    f"{n} pairs": {"queries": unit_rows(n, n, n_query_rows), "pages": unit_rows(n + 50, n, n_page_rows)}
    for n, n_query_rows, n_page_rows in [(2, 1, 1), (5, 12, 30), (16, 7, 90)]
}


@pytest.fixture(scope="module")
def losses(ask_oracle: Callable[..., dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    lists = {label: {side: rows.tolist() for side, rows in batch.items()} for label, batch in BATCHES.items()}
    return ask_oracle("visual_losses.py", {"batches": lists})


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_their_gradients_are_the_references(loss: str, batch: str, losses: dict[str, np.ndarray]) -> None:
    queries = BATCHES[batch]["queries"].clone().requires_grad_()
    pages = list(BATCHES[batch]["pages"])
    value = LOSSES[loss](list(queries), pages, torch.eye(len(pages), dtype=torch.bool))
    value.backward()
    np.testing.assert_allclose(value.detach(), losses[f"{batch}/{loss}"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(queries.grad, losses[f"{batch}/{loss}.gradient"], rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    starter.ensure(folder)
    return folder


@pytest.fixture(scope="module")
def adapted(models_dir: Path) -> dict[tuple[str, str], VisualModel]:
    """Family and kind -> its small model with what changes its vectors, which is on disk as well."""
    models = {}
    for family in FAMILIES:
        models[family, "lora"] = models[family, "merged"] = adapt(family, models_dir)
        models[family, "again"] = adapt_again(family, models_dir)
    return models


@pytest.fixture(scope="module")
def read(
    ask_oracle: Callable[..., dict[str, np.ndarray]], models_dir: Path, adapted: dict[tuple[str, str], VisualModel]
) -> dict[str, np.ndarray]:
    """What the reference library makes of the results."""
    (models_dir / "page.png").write_bytes(png(page(300, 200)))
    names = {f"{family}-{kind}": (family, f"{family}-{kind}") for family, kind in adapted}
    names |= {f"{family}-base": (family, f"untrained/{family}") for family in FAMILIES}
    images = [str(models_dir / "page.png")]
    request = {"models_dir": str(models_dir), "checkpoints": names, "images": images, "queries": [QUERY]}
    return ask_oracle("visual.py", request)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_reads_results(
    family: str,
    kind: str,
    adapted: dict[tuple[str, str], VisualModel],
    read: dict[str, np.ndarray],
    assert_agree: Callable[..., None],
) -> None:
    query, document = vectors(adapted[family, kind])
    label = f"{family}-{kind}"
    assert_agree(f"trained {label}, query", query, read[f"{label}/query.0.vectors"])
    assert_agree(f"trained {label}, page", document, read[f"{label}/image.0.vectors"])
    for other in {"base", "lora"} - {"lora" if kind == "merged" else kind}:
        assert (document * read[f"{family}-{other}/image.0.vectors"]).sum(-1).mean() < 0.99


def adapt(family: str, models_dir: Path) -> VisualModel:
    base = models_dir / "untrained" / family
    for kind in KINDS:
        (models_dir / f"{family}-{kind}").mkdir()
    model, adapter = with_random_lora(family, Checkpoint(base), LoraOptions(r=4, lora_alpha=8, lora_dropout=0.1))
    write_adapter(models_dir / f"{family}-lora", adapter, family, base, f"untrained/{family}")
    write_merged(models_dir / f"{family}-merged", model.module, model.key_mapping, base)
    return model


def adapt_again(family: str, models_dir: Path) -> VisualModel:
    """On top of what `adapt` wrote."""
    base, first = models_dir / "untrained" / family, models_dir / f"{family}-lora"
    options = LoraOptions(r=3, lora_alpha=9, lora_dropout=0.1)
    model, adapter = with_random_lora(family, Checkpoint(first, base), options)
    older = OlderAdapter.read(first, model.key_mapping)
    write_adapter(models_dir / f"{family}-again", adapter, family, base, f"untrained/{family}", older)
    return model


def with_random_lora(family: str, checkpoint: Checkpoint, options: LoraOptions) -> tuple[VisualModel, PeftModel]:
    """The model, and the same with the matrices around it."""
    family_class: Any = load_class(CATALOG[family])
    model: VisualModel = family_class.load_unpacked(checkpoint, LoadOptions())
    torch.manual_seed(options.r)
    adapter = add_lora(model.module, family, options)
    for parameter in adapter.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return model, adapter.eval()


def vectors(model: VisualModel) -> list[np.ndarray]:
    """Of the query and the page."""
    prepared = [model.prepare_text(TextInput(QUERY)), model.prepare_image(ImageInput(b""), page(300, 200))]
    embeddings = [model.encode([item])[0].multi_vector for item in prepared]
    return [embedding.vectors for embedding in embeddings if embedding is not None]
