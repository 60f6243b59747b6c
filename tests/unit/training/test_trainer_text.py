"""Text trainings from the pairs to the model that is served."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers

from app.checkpoints.resolve import resolve
from app.core.types import Embedding, Output, Role, TextInput
from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import CATALOG, load_class
from app.settings import REPO
from app.starter.text import build_e5
from app.training import resumable
from app.training.options import LoraOptions, TrainingOptions
from app.training.pairs_split import columns, read_text_pairs, split
from app.training.task import CHECKPOINTS, DATASET_FILE, RESULT, TrainingFailedError, TrainingTask
from app.training.text import train_texts
from app.training.whole import is_whole
from tests.devices import DEVICES
from tests.unit.training.code_words import CODE, N_CHANCE, Recorder, write_task

STARTERS = {"e5": "e5-starter", "bge-m3": "bge-m3-starter"}
OUTPUTS = {"e5": frozenset({Output.DENSE}), "bge-m3": frozenset(Output)}
QUERY, PASSAGE = "moss gate drum", "butter planet hat"


@dataclass(frozen=True)
class Trained:
    """A training that has ended."""

    task: TrainingTask
    folder: Path
    reported: Recorder

    @property
    def result(self) -> Path:
        return self.folder / RESULT

    def embed(self, models_dir: Path, text: str, role: Role = Role.QUERY) -> Embedding:
        """By the model as the server finds and loads it."""
        place = models_dir / self.task.model_name
        if not place.exists():
            shutil.copytree(self.result, place)
        return embed(self.task.family, resolve(self.task.model_name, None, models_dir, hub=None), text, role)


Train = Callable[..., Trained]
LORA = LoraOptions(r=8, lora_alpha=32, lora_dropout=0.0)
METHODS = {
    "full": (TrainingOptions(epochs=4, batch_size=50, mini_batch_size=50, learning_rate=2e-3), None),
    "lora": (TrainingOptions(epochs=6, batch_size=50, mini_batch_size=50, learning_rate=5e-3), LORA),
    "lora-heads": (
        TrainingOptions(epochs=6, batch_size=50, mini_batch_size=50, learning_rate=5e-3, train_heads=True),
        LORA,
    ),
    "merged": (
        TrainingOptions(epochs=6, batch_size=50, mini_batch_size=25, learning_rate=5e-3),
        LORA.model_copy(update={"merge": True}),
    ),
}


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains a starter by one of `METHODS`, once a session."""
    done: dict[tuple[str, ...], Trained] = {}

    def trained(family: str, method: str, device: str = "cpu") -> Trained:
        if (family, method, device) not in done:
            options, lora = METHODS[method]
            folder = tmp_path_factory.mktemp(f"{family}-{method}-{device}")
            base = REPO / "models" / "starter" / STARTERS[family]
            task, reported = write_task(folder, family, base, options, lora, device), Recorder()
            train_texts(task, folder, reported)
            done[family, method, device] = Trained(task, folder, reported)
        return done[family, method, device]

    return trained


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A models folder with the starters, which adapters name as their bases."""
    for name in STARTERS.values():
        (tmp_path / "models").mkdir(exist_ok=True)
        shutil.copytree(REPO / "models" / "starter" / name, tmp_path / "models" / name)
    return tmp_path / "models"


def embed(family: str, checkpoint: Checkpoint, text: str, role: Role) -> Embedding:
    model = load_class(CATALOG[family]).load(checkpoint, LoadOptions())
    [embedding] = model.encode([model.prepare_text(TextInput(text, role, OUTPUTS[family]))])
    model.close()
    return embedding


@pytest.mark.parametrize(
    ("family", "method"),
    [("e5", "full"), ("e5", "lora"), ("e5", "merged"), ("bge-m3", "full"), ("bge-m3", "lora-heads")],
)
@pytest.mark.parametrize("device", DEVICES)
def test_learns_what_its_base_cannot_know(train: Train, family: str, method: str, device: str) -> None:
    """22 pairs of words that were trained on in other combinations only."""
    reported = train(family, method, device).reported
    before, after = reported.figures("before"), reported.figures("after")
    print(family, method, before, after)
    assert before["n_pairs"] == after["n_pairs"] == 22
    assert before["n_candidates"] == N_CHANCE
    assert before["recall@1"] < 0.15
    assert after["recall@1"] > 0.6
    assert after["ndcg@10"] > before["ndcg@10"] + 0.5
    assert after["loss"] < before["loss"] - 2


@pytest.mark.parametrize(("family", "method"), [("e5", "full"), ("bge-m3", "full"), ("e5", "merged")])
def test_equals_its_reference_library(train: Train, models_dir: Path, family: str, method: str) -> None:
    trained = train(family, method)
    reference = SentenceTransformer(str(trained.result), device="cpu", model_kwargs={"dtype": torch.float32})
    prompt = "query: " if family == "e5" else ""
    expected = reference.encode([prompt + QUERY], normalize_embeddings=True)[0]
    found = trained.embed(models_dir, QUERY).dense
    assert found is not None
    assert float(found @ expected) >= 0.9999
    assert load_file(trained.result / "model.safetensors")["embeddings.word_embeddings.weight"].dtype == torch.float16


def test_adapter_is_served_over_its_base(train: Train, models_dir: Path) -> None:
    trained = train("e5", "lora")
    assert not (trained.result / "model.safetensors").exists()
    query = trained.embed(models_dir, QUERY).dense
    right = trained.embed(models_dir, PASSAGE, Role.DOCUMENT).dense
    wrong = trained.embed(models_dir, "river engine garden", Role.DOCUMENT).dense
    assert query is not None
    assert float(query @ right) > float(query @ wrong) + 0.3


def test_heads_are_carried_over_unchanged(train: Train, models_dir: Path) -> None:
    trained = train("bge-m3", "full")
    for name in ("sparse_linear", "colbert_linear"):
        file = f"{name}.safetensors"
        assert (trained.result / file).read_bytes() == (trained.task.base_path / file).read_bytes()
    assert trained.embed(models_dir, QUERY).multi_vector is not None


def test_heads_learn_along(train: Train, models_dir: Path) -> None:
    """Late interaction finds a translation, which it could not with the base's head."""
    trained = train("bge-m3", "lora-heads")
    base = load_file(trained.task.base_path / "colbert_linear.safetensors")
    own = load_file(trained.result / "colbert_linear.safetensors")
    assert own.keys() == base.keys()
    assert own["weight"].dtype == base["weight"].dtype
    assert not torch.equal(own["weight"], base["weight"])
    query = _tokens(trained.embed(models_dir, QUERY))
    right = _tokens(trained.embed(models_dir, PASSAGE, Role.DOCUMENT))
    wrong = _tokens(trained.embed(models_dir, "river engine garden", Role.DOCUMENT))
    assert _late(query, right) > _late(query, wrong) + 0.2


def test_result_is_whole_and_alone(train: Train) -> None:
    trained = train("e5", "full")
    assert is_whole(trained.result)
    assert not (trained.folder / CHECKPOINTS).exists()
    assert not list(trained.result.rglob("*.py"))


def test_progress_ends_with_the_last_step(train: Train) -> None:
    steps = [message["step"] for message in train("e5", "full").reported.of("progress")]
    assert steps == sorted(set(steps))
    last = train("e5", "full").reported.of("progress")[-1]
    assert (last["step"], last["n_steps"], last["seconds_left"]) == (16, 16, 0.0)
    assert last["loss"] < 2
    assert 0 < last["learning_rate"] < 2e-3


def test_same_as_sentence_transformers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pairs, arguments and seed give the same losses and vectors."""
    monkeypatch.setattr(resumable, "REPORT_INTERVAL_S", 0.0)
    base = tmp_path / "e5"
    base.mkdir()
    build_e5(base)
    options = TrainingOptions(epochs=1, batch_size=32, mini_batch_size=32, learning_rate=1e-3)
    task, reported = write_task(tmp_path / "job", "e5", base, options), Recorder()
    train_texts(task, tmp_path / "job", reported)
    ours = SentenceTransformer(str(tmp_path / "job" / RESULT), device="cpu")
    alone, losses_alone = _trained_alone(base, task, tmp_path)
    texts = [f"query: {word}" for word in CODE]
    cosines = (ours.encode(texts) * alone.encode(texts)).sum(axis=1)
    losses = [message["loss"] for message in reported.of("progress")]
    print(f"cosines >= {cosines.min():.7f}; last loss {losses[-1]:.5f}, alone {losses_alone[-1]:.5f}")
    assert losses == pytest.approx(losses_alone, abs=1e-4)
    assert cosines.min() > 0.99999


def _trained_alone(base: Path, task: TrainingTask, folder: Path) -> tuple[SentenceTransformer, list[float]]:
    """With nothing of ours but the pairs."""
    model = SentenceTransformer(str(base), device="cpu")
    pairs = split(read_text_pairs(folder / "job" / DATASET_FILE), task.options.eval_fraction, task.options.seed)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "alone"),
        num_train_epochs=1,
        per_device_train_batch_size=32,
        learning_rate=1e-3,
        warmup_steps=0.1,
        seed=task.options.seed,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        prompts={"query": "query: ", "positive": "passage: "},
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
    )
    dataset = Dataset.from_dict(columns(pairs.train))
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=dataset, loss=MultipleNegativesRankingLoss(model)
    )
    trainer.train()
    return model, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_loss_that_is_not_finite_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "e5"
    base.mkdir()
    build_e5(base)
    task = write_task(tmp_path / "job", "e5", base, TrainingOptions(epochs=1, batch_size=32, mini_batch_size=32))
    forward = MultipleNegativesRankingLoss.forward
    monkeypatch.setattr(MultipleNegativesRankingLoss, "forward", lambda *a, **b: forward(*a, **b) * float("nan"))
    reported = Recorder()
    with pytest.raises(TrainingFailedError, match="learning_rate"):
        train_texts(task, tmp_path / "job", reported)
    assert not reported.of("checkpoint")
    assert not (tmp_path / "job" / RESULT).exists()


def test_few_pairs_are_all_trained_on(tmp_path: Path) -> None:
    base = tmp_path / "e5"
    base.mkdir()
    build_e5(base)
    task, reported = write_task(tmp_path / "job", "e5", base, TrainingOptions(epochs=1, mini_batch_size=32)), Recorder()
    dataset = tmp_path / "job" / DATASET_FILE
    dataset.write_text("".join(dataset.read_text().splitlines(keepends=True)[:5]))
    train_texts(task, tmp_path / "job", reported)
    stages = " ".join(message["message"] for message in reported.of("stage"))
    assert "without figures" in stages
    assert "batch_size 5" in stages
    assert not reported.of("evaluation")
    assert is_whole(tmp_path / "job" / RESULT)


def _tokens(embedding: Embedding) -> np.ndarray:
    assert embedding.multi_vector is not None
    return embedding.multi_vector.vectors


def _late(query: np.ndarray, passage: np.ndarray) -> float:
    return float((query @ passage.T).max(axis=1).mean())
