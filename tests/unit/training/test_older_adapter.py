"""Text trainings on top of an adapter, and which adapters can be carried on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.checkpoints.resolve import resolve
from app.core.types import Embedding, Output, Role, TextInput
from app.families.base import LoadOptions
from app.families.catalog import CATALOG, load_class
from app.families.pretrained import merge_adapter
from app.settings import REPO
from app.training import text
from app.training.lora_updates import ADAPTER_PREFIX, LoraUpdate, adapter_weights, join, joined_config
from app.training.older_adapter import OlderAdapter, require_joinable
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.task import RESULT, TrainingFailedError, TrainingTask
from app.training.text import train_texts
from app.training.text_model import HEADS, TrainableText
from tests.unit.training.code_words import Recorder, write_task

LORA = LoraOptions(r=8, lora_alpha=32, lora_dropout=0.0)
NARROW = LoraOptions(r=4, lora_alpha=4, lora_dropout=0.0)
MERGE = NARROW.model_copy(update={"merge": True})
FIRST = TrainingOptions(epochs=4, batch_size=50, mini_batch_size=50, learning_rate=5e-3)
SECOND = FIRST.model_copy(update={"epochs": 1, "learning_rate": 2e-3})
QUERY = "moss gate drum"


@dataclass(frozen=True)
class Trained:
    """A training that has ended."""

    task: TrainingTask
    folder: Path
    reported: Recorder
    text: TrainableText
    """As it was trained, in memory."""

    @property
    def result(self) -> Path:
        return self.folder / RESULT

    def cosine_with_served(self) -> float:
        """Of a query's vector in training, and by the result as the server finds and loads it."""
        own = self.text.model.encode(
            [QUERY], prompt=self.text.family.query_prompt or None, normalize_embeddings=True, show_progress_bar=False
        )[0]
        return float(own @ self.embed().dense)

    def embed(self) -> Embedding:
        models_dir = self.folder / "models"
        shutil.copytree(self.task.base_path, models_dir / self.task.base_name, dirs_exist_ok=True)
        shutil.copytree(self.result, models_dir / "mine", dirs_exist_ok=True)
        model = load_class(CATALOG[self.task.family]).load(resolve("mine", None, models_dir, hub=None), LoadOptions())
        [embedding] = model.encode([model.prepare_text(TextInput(QUERY, Role.QUERY, frozenset({Output.DENSE})))])
        return embedding


Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train a starter, or the result of another training."""

    def train(family: str, options: TrainingOptions, lora: LoraOptions | None, first: Trained | None = None) -> Trained:
        folder, reported = tmp_path_factory.mktemp("job"), Recorder()
        task = write_task(folder, family, REPO / "models" / "starter" / f"{family}-starter", options, lora)
        task = replace(task, adapter_path=first.result if first else None)
        models: list[TrainableText] = []
        with pytest.MonkeyPatch.context() as patch:
            load = text.load_trainable
            patch.setattr(text, "load_trainable", lambda task: models.append(load(task)) or models[-1])
            train_texts(task, folder, reported)
        return Trained(task, folder, reported, models[0])

    return train


@pytest.fixture(scope="module")
def first(train: Train) -> Trained:
    return train("e5", FIRST, LORA)


@pytest.fixture(scope="module")
def second(train: Train, first: Trained) -> Trained:
    return train("e5", SECOND, NARROW, first)


def test_it_begins_where_the_older_one_ended(first: Trained, second: Trained) -> None:
    ended, begun, after = (
        first.reported.figures("after"),
        second.reported.figures("before"),
        second.reported.figures("after"),
    )
    print(first.reported.figures("before"), ended, begun, after)
    assert begun == pytest.approx(ended, abs=1e-4)
    assert ended["recall@1"] > 0.4
    assert after["loss"] < begun["loss"] - 0.01


def test_both_are_one_adapter_over_the_whole_base(first: Trained, second: Trained) -> None:
    assert second.cosine_with_served() >= 0.9999
    config = json.loads((second.result / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (12, 12)
    assert config["base_model_name_or_path"] == "e5-starter"
    assert isinstance(config["target_modules"], str)
    assert {file.name for file in second.result.rglob("*")} == {file.name for file in first.result.rglob("*")}


@pytest.mark.parametrize("lora", [MERGE, None])
def test_a_whole_checkpoint_holds_both(train: Train, first: Trained, second: Trained, lora: LoraOptions | None) -> None:
    whole = train("e5", SECOND, lora, first)
    assert whole.reported.figures("before") == pytest.approx(first.reported.figures("after"), abs=1e-4)
    assert whole.cosine_with_served() >= 0.9999
    assert not list(whole.result.glob("adapter*"))
    if lora is not None:
        assert float(whole.embed().dense @ second.embed().dense) >= 0.9999


def test_heads_of_the_older_adapter_are_carried_on(train: Train) -> None:
    short = TrainingOptions(epochs=0.5, batch_size=100, mini_batch_size=100, learning_rate=5e-3, eval_fraction=0)
    older = train("bge-m3", short, LORA)
    for name in HEADS:
        head = load_file(older.task.base_path / f"{name}.safetensors")
        save_file({part: 2 * weight for part, weight in head.items()}, older.result / f"{name}.safetensors")
    newer = train("bge-m3", short, NARROW, older)
    assert newer.cosine_with_served() >= 0.9999
    for name in HEADS:
        file = f"{name}.safetensors"
        assert (newer.result / file).read_bytes() == (older.result / file).read_bytes()


def test_the_older_adapters_tokenizer_goes_before_its_bases(train: Train, first: Trained, tmp_path: Path) -> None:
    shutil.copytree(first.result, tmp_path / RESULT)
    tokenizer = json.loads((tmp_path / RESULT / "tokenizer.json").read_text())
    (tmp_path / RESULT / "tokenizer.json").write_text(json.dumps(tokenizer, indent=7))
    result = train("e5", SECOND, NARROW, replace(first, folder=tmp_path)).result
    assert (result / "tokenizer.json").read_bytes() == (tmp_path / RESULT / "tokenizer.json").read_bytes()


def test_4_bits_are_refused(train: Train, first: Trained) -> None:
    task = replace(first.task, adapter_path=first.result, method=Method.QLORA)
    with pytest.raises(TrainingFailedError, match="use_qlora: false"):
        train_texts(task, first.folder, Recorder())


class Toy(nn.Module):
    """Three layers, with names as a checkpoint has them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.c(self.b(self.a(inputs)))
        return outputs


def write_toy_adapter(folder: Path, **settings: Any) -> Toy:
    """An adapter of settings on a `Toy`, which is returned without it."""
    torch.manual_seed(0)
    toy = Toy()
    weights = {name: weight.clone() for name, weight in toy.state_dict().items()}
    adapted = get_peft_model(toy, LoraConfig(**{"r": 2, "lora_alpha": 3, "target_modules": ["a", "b"], **settings}))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter)
    adapted.save_pretrained(str(folder))
    toy = Toy()
    toy.load_state_dict(weights)
    return toy


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"b": 4}, "alpha_pattern": {"b": 8}},
        {"use_rslora": True, "rank_pattern": {"b": 4}, "alpha_pattern": {"^a": 1}},
        {"init_lora_weights": "gaussian", "lora_dropout": 0.5},
    ],
)
def test_an_adapters_updates_are_what_it_adds_when_it_is_served(tmp_path: Path, settings: dict[str, Any]) -> None:
    toy = write_toy_adapter(tmp_path, **settings)
    before = {name: weight.clone() for name, weight in toy.state_dict().items()}
    merged = merge_adapter(toy, tmp_path, {}).state_dict()
    updates = OlderAdapter.read(tmp_path, {}).updates
    assert set(updates) == {"a", "b"}
    for layer, update in updates.items():
        torch.testing.assert_close(before[f"{layer}.weight"] + update.product(), merged[f"{layer}.weight"])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["c"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
    ],
)
def test_what_is_no_mere_sum_is_refused(tmp_path: Path, settings: dict[str, Any], named: str) -> None:
    write_toy_adapter(tmp_path, **settings)
    with pytest.raises(TrainingFailedError, match=f"made with {named}.*Merge it"):
        require_joinable(tmp_path)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    write_toy_adapter(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file(load_file(file) | {f"{ADAPTER_PREFIX}c.bias": torch.ones(3)}, file)
    with pytest.raises(TrainingFailedError, match=r"has the weight base_model\.model\.c\.bias"):
        require_joinable(tmp_path)


def test_joined_updates_are_their_sum_whatever_they_adapt() -> None:
    def update(rank: int) -> LoraUpdate:
        return LoraUpdate.of(torch.randn(rank, 5), torch.randn(3, rank), scale=0.5)

    first, second = {"a": update(2), "b": update(3)}, {"b": update(4), "c": update(1)}
    joined = join(first, second)
    assert {layer: own.rank for layer, own in joined.items()} == {"a": 7, "b": 7, "c": 7}
    torch.testing.assert_close(joined["a"].product(), first["a"].product())
    torch.testing.assert_close(joined["b"].product(), first["b"].product() + second["b"].product())
    torch.testing.assert_close(joined["c"].product(), second["c"].product())


@pytest.mark.parametrize(("pattern", "targets"), [("[abc]", "[abc]"), ("[bc]", ["a", "b", "c"])])
def test_a_joined_adapter_is_read_by_peft(tmp_path: Path, pattern: str, targets: str | list[str]) -> None:
    """Layers that the newer adapter's expression does not find are named."""
    toy = write_toy_adapter(tmp_path)
    newer = {layer: LoraUpdate.of(torch.randn(1, 7), torch.randn(n, 1), scale=2) for layer, n in (("b", 7), ("c", 3))}
    joined = join(OlderAdapter.read(tmp_path, {}).updates, newer)
    weights = adapter_weights(joined)
    config = joined_config(LoraConfig(r=1, lora_alpha=2, target_modules=pattern), weights)
    assert (config.r, config.lora_alpha, config.target_modules) == (3, 3, targets)
    config.save_pretrained(str(tmp_path / "joined"))
    save_file(weights, tmp_path / "joined" / "adapter_model.safetensors")
    before = {name: weight.clone() for name, weight in toy.state_dict().items()}
    merged = PeftModel.from_pretrained(toy, str(tmp_path / "joined")).merge_and_unload().state_dict()
    for layer, update in joined.items():
        torch.testing.assert_close(before[f"{layer}.weight"] + update.product(), merged[f"{layer}.weight"])
