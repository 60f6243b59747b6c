"""Page trainings from the pairs to the model that is served."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app.checkpoints.resolve import resolve
from app.core.errors import BadInputError
from app.core.types import ImageInput, TextInput
from app.families.base import Checkpoint, LoadOptions
from app.families.catalog import CATALOG, load_class
from app.families.visual_model import VisualModel
from app.starter import visual as starters
from app.training import page_trainer, resumable, visual
from app.training.folders import IMAGES
from app.training.multi_vector_loss import late_interaction_loss
from app.training.options import LoraOptions, Method, TrainingOptions
from app.training.page_adapter import TARGETS, add_lora, write_merged
from app.training.page_dataset import PageReader, pages_by_query, read_dataset
from app.training.page_ranking import measure_pages
from app.training.pairs_split import split
from app.training.ranking import ranking_task
from app.training.task import CHECKPOINTS, RESULT, TrainingFailedError, TrainingTask
from app.training.visual import train_pages
from app.training.whole import is_whole
from tests.devices import DEVICES
from tests.parity.visual_layouts import FAMILIES
from tests.unit.training.code_words import Recorder
from tests.unit.training.colour_pages import N_PAGES, page, page_task, write_pages

BUILDERS = {
    "colqwen2.5": starters.build_colqwen2_5,
    "colqwen2": starters.build_colqwen2,
    "colpali": starters.build_colpali,
}
COLPALI_SIDE = 3 * starters.PATCH
"""The starter's pages have 1024 tokens, as the published ones: too many for a quick test."""

LEARNING = TrainingOptions(epochs=20, batch_size=16, mini_batch_size=64, learning_rate=5e-3, eval_fraction=0.2)
SHORT = TrainingOptions(epochs=2, batch_size=8, mini_batch_size=3, learning_rate=5e-3, eval_fraction=0)
LORA = LoraOptions(r=32, lora_alpha=64, lora_dropout=0.0)
DROPOUT = LORA.model_copy(update={"lora_dropout": 0.2})

QUERY, PAGE = "wexom blunk tashpin", page(["blunk", "tashpin", "wexom"], seed=7)
CHANCE_NDCG = 4.54 / N_PAGES
"""Of rankings by chance: the sum of the discounts of ten places over the number of candidates."""


@dataclass(frozen=True)
class Trained:
    """A training that has ended."""

    task: TrainingTask
    folder: Path
    reported: Recorder
    model: VisualModel
    """As it was trained, in memory."""

    @property
    def result(self) -> Path:
        return self.folder / RESULT

    def serve(self, models_dir: Path) -> VisualModel:
        """The result as the server finds and loads it."""
        place = models_dir / self.task.model_name
        shutil.copytree(self.result, place, dirs_exist_ok=True)
        return serve(self.task.family, resolve(self.task.model_name, None, models_dir, hub=None))


Train = Callable[..., Trained]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starters, "COLPALI_SIDE", COLPALI_SIDE)
        size = {"height": COLPALI_SIDE, "width": COLPALI_SIDE}
        patch.setattr(starters, "COLPALI_IMAGES", starters.COLPALI_IMAGES | {"size": size})
        for family, build in BUILDERS.items():
            (folder / "untrained" / family).mkdir(parents=True)
            build(folder / "untrained" / family)
    return folder


@pytest.fixture(scope="module")
def run(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Run a training on so many pages in a folder of its own."""

    def run(task: TrainingTask, n_pages: int, folder: Path | None = None) -> Trained:
        if folder is None:
            folder = tmp_path_factory.mktemp("job")
            write_pages(folder, n_pages)
        models: list[VisualModel] = []
        with pytest.MonkeyPatch.context() as patch:
            load = visual.load_trainable
            patch.setattr(visual, "load_trainable", lambda task: models.append(load(task)) or models[-1])
            reported = Recorder()
            train_pages(task, folder, reported)
        return Trained(task, folder, reported, models[0])

    return run


@pytest.fixture(scope="module")
def trained(run: Train, models_dir: Path) -> Callable[..., Trained]:
    """The family's small checkpoint after it has learned all pages, once a session."""
    done: dict[tuple[str, ...], Trained] = {}

    def trained(family: str, device: str = "cpu", method: Method = Method.LORA) -> Trained:
        key = (family, device, method)
        if key not in done:
            task = page_task(family, models_dir, LEARNING, LORA, "-".join(("my", *key)), device)
            done[key] = run(replace(task, method=method), N_PAGES)
        return done[key]

    return trained


def serve(family: str, checkpoint: Checkpoint) -> VisualModel:
    model = load_class(CATALOG[family]).load(checkpoint, LoadOptions())
    assert isinstance(model, VisualModel)
    return model


def vectors(model: VisualModel) -> list[np.ndarray]:
    """Of a query and of a page."""
    model.module.eval()
    prepared = [model.prepare_text(TextInput(QUERY)), model.prepare_image(ImageInput(b""), PAGE)]
    embeddings = [model.encode([item])[0].multi_vector for item in prepared]
    return [embedding.vectors for embedding in embeddings if embedding is not None]


def least_cosine(model: VisualModel, other: VisualModel) -> float:
    pairs = zip(vectors(model), vectors(other), strict=True)
    return min(float((mine * others).sum(-1).min()) for mine, others in pairs)


def assert_learned(trained: Trained) -> None:
    """Among 220 pages: the mean nDCG of 44 queries by chance is 0.021, with a standard deviation of 0.017."""
    before, after = trained.reported.figures("before"), trained.reported.figures("after")
    print(trained.task.model_name, before, after)
    assert before["n_candidates"] == N_PAGES
    assert before["n_pairs"] == after["n_pairs"] == 44
    assert before["ndcg@10"] < CHANCE_NDCG + 0.1
    assert after["ndcg@10"] > CHANCE_NDCG + 0.15
    assert after["loss"] < before["loss"] - 1


@pytest.mark.parametrize("family", FAMILIES)
class TestLearning:
    @pytest.mark.parametrize("device", DEVICES)
    def test_it_finds_pages_of_colours_that_it_never_saw_together(
        self, family: str, device: str, trained: Callable[..., Trained]
    ) -> None:
        assert_learned(trained(family, device))

    def test_it_is_served_as_it_was_trained(
        self, family: str, trained: Callable[..., Trained], models_dir: Path
    ) -> None:
        done = trained(family)
        served = done.serve(models_dir)
        assert least_cosine(done.model, served) >= 0.9999
        base = serve(family, Checkpoint(models_dir / "untrained" / family))
        assert least_cosine(base, served) < 0.9

    def test_merged_it_is_the_same(
        self, family: str, trained: Callable[..., Trained], models_dir: Path, tmp_path: Path
    ) -> None:
        done = trained(family)
        base = done.task.base_path
        write_merged(tmp_path, done.model.module, done.model.key_mapping, base)
        merged, original = (load_file(folder / "model.safetensors") for folder in (tmp_path, base))
        assert {name: weight.shape for name, weight in merged.items()} == {
            name: weight.shape for name, weight in original.items()
        }
        assert {file.name for file in base.iterdir()} - {file.name for file in tmp_path.iterdir()} == {"README.md"}
        assert least_cosine(serve(family, Checkpoint(tmp_path)), done.model) >= 0.9999

    def test_merged_into_a_base_of_several_files_it_is_the_same(
        self, family: str, trained: Callable[..., Trained], tmp_path: Path
    ) -> None:
        done = trained(family)
        base = in_two_files(done.task.base_path, tmp_path / "base")
        (tmp_path / "merged").mkdir()
        write_merged(tmp_path / "merged", done.model.module, done.model.key_mapping, base)
        assert least_cosine(serve(family, Checkpoint(tmp_path / "merged")), done.model) >= 0.9999

    def test_the_adapter_has_the_layout_of_the_published_ones(
        self, family: str, trained: Callable[..., Trained]
    ) -> None:
        done = trained(family)
        assert is_whole(done.result)
        config = json.loads((done.result / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == f"untrained/{family}"
        assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 32, 64)
        weights = load_file(done.result / "adapter_model.safetensors")
        # Two layers of seven projections, and the one to the vectors.
        assert len(weights) == 2 * (2 * 7 + 1)
        assert {file.name for file in done.result.iterdir()} >= {"tokenizer.json", "preprocessor_config.json"}
        assert not {"config.json", "model.safetensors", "README.md"} & {file.name for file in done.result.iterdir()}
        assert not (done.folder / CHECKPOINTS).exists()


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
class TestOnAGpu:
    """In bfloat16, over the base as it is and over one in 4 bits."""

    @pytest.mark.parametrize("method", [Method.LORA, Method.QLORA])
    def test_it_finds_as_much_when_it_is_served(
        self, family: str, method: Method, trained: Callable[..., Trained], models_dir: Path
    ) -> None:
        """On a CPU, in float32, over the whole base."""
        if method is Method.QLORA:
            pytest.importorskip("bitsandbytes")
        done = trained(family, "cuda", method)
        assert_learned(done)
        served = done.serve(models_dir)
        print(family, method, "least cosine", least_cosine(done.model, served))
        pairs = read_dataset(done.folder)
        reader = PageReader(served, done.folder / IMAGES, pages_by_query(pairs))
        held_out = ranking_task(split(pairs, LEARNING.eval_fraction, LEARNING.seed))
        figures = measure_pages(held_out, reader, 64)
        print(family, method, figures)
        assert figures["ndcg@10"] == pytest.approx(done.reported.figures("after")["ndcg@10"], abs=0.1)

    def test_qlora_leaves_the_language_model_in_4_bits(self, family: str, trained: Callable[..., Trained]) -> None:
        quantized = pytest.importorskip("bitsandbytes").nn.Linear4bit
        module = trained(family, "cuda", Method.QLORA).model.module
        kinds = {type(layer) for name, layer in module.named_modules() if name.endswith("q_proj.base_layer")}
        assert kinds == {quantized}


@pytest.mark.parametrize("family", FAMILIES)
def test_recomputed_activations_give_the_same_gradients_and_none_to_the_vision_tower(
    family: str, models_dir: Path
) -> None:
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = visual.load_trainable(page_task(family, models_dir, SHORT, LORA))
        adapted = add_lora(model.module, family, LORA)
        if recompute:
            visual.recompute_activations(model.module)
        adapted.train()
        towers = []
        vision = getattr(model.module, "visual", None) or model.module.vision_tower
        vision.register_forward_hook(lambda module, inputs, output, seen=towers: seen.append(output[0]))
        model.vectors([model.prepare_image(ImageInput(b""), PAGE)]).square()[..., 0].sum().backward()
        assert [output.requires_grad for output in towers] == [False]
        gradients.append([p.grad for p in adapted.parameters() if p.requires_grad])
    assert any(gradient.abs().max() > 0 for gradient in gradients[0])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def in_two_files(checkpoint: Path, folder: Path) -> Path:
    """As large checkpoints are."""
    shutil.copytree(checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    place = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(weights)}
    for file in set(place.values()):
        own = {name: weight for name, weight in weights.items() if place[name] == file}
        save_file(own, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": place}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


class TestJobs:
    def test_a_merged_job_is_the_adapters_in_the_bases_layout(self, run: Train, models_dir: Path) -> None:
        merge = LORA.model_copy(update={"merge": True})
        alone = run(page_task("colqwen2", models_dir, SHORT, LORA, "alone"), 24)
        merged = run(page_task("colqwen2", models_dir, SHORT, merge, "merged"), 24)
        assert not (merged.result / "adapter_config.json").exists()
        assert (merged.result / "config.json").exists()
        assert least_cosine(merged.serve(models_dir), alone.serve(models_dir)) >= 0.9999

    @pytest.mark.parametrize("family", FAMILIES)
    def test_the_size_of_mini_batches_does_not_change_the_result(
        self, family: str, run: Train, models_dir: Path
    ) -> None:
        adapters = [
            load_file(run(page_task(family, models_dir, options, LORA), 24).result / "adapter_model.safetensors")
            for options in (SHORT, SHORT.model_copy(update={"mini_batch_size": 8}))
        ]
        for name, weight in adapters[0].items():
            torch.testing.assert_close(weight, adapters[1][name], rtol=1e-3, atol=1e-4)

    def test_it_goes_on_where_it_was_killed(
        self, run: Train, models_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """To the weights of an unbroken training, dropout and all."""
        task = page_task("colqwen2", models_dir, SHORT, DROPOUT)
        unbroken = run(task, 24)
        write_pages(tmp_path, 24)
        monkeypatch.setattr(resumable.SaveByTime, "on_step_end", save_always)
        with monkeypatch.context() as patch:
            patch.setattr(page_trainer, "late_interaction_loss", FailsAt(4))
            with pytest.raises(KeyboardInterrupt):
                run(task, 24, tmp_path)
        resumed = run(task, 24, tmp_path)
        assert [message["step"] for message in resumed.reported.of("progress")][-1] == 6
        assert any("step 3" in message["message"] for message in resumed.reported.of("stage"))
        for name, weight in load_file(unbroken.result / "adapter_model.safetensors").items():
            torch.testing.assert_close(load_file(resumed.result / "adapter_model.safetensors")[name], weight)

    def test_a_page_that_is_gone_ends_it_with_a_reason(self, run: Train, models_dir: Path, tmp_path: Path) -> None:
        write_pages(tmp_path, 24)
        (tmp_path / "images" / "000003.png").unlink()
        with pytest.raises(TrainingFailedError, match=r"000003\.png of the dataset is missing"):
            run(page_task("colqwen2", models_dir, SHORT, LORA), 24, tmp_path)
        assert not (tmp_path / RESULT).exists()

    def test_one_page_has_no_negatives(self, run: Train, models_dir: Path) -> None:
        with pytest.raises(BadInputError, match="two different images"):
            run(page_task("colqwen2", models_dir, SHORT, LORA), 1)


@pytest.fixture(scope="module")
def again(run: Train, trained: Callable[..., Trained]) -> Trained:
    """The adapter that was trained, trained further."""
    lora = LoraOptions(r=8, lora_alpha=32, lora_dropout=0.0)
    return run(further(trained("colqwen2.5"), lora, "again"), N_PAGES)


class TestOnTopOfAnAdapter:
    """As of the published checkpoints, which are adapters."""

    def test_it_begins_where_the_other_ended(self, again: Trained, trained: Callable[..., Trained]) -> None:
        first = trained("colqwen2.5").reported.figures("after")
        before, after = again.reported.figures("before"), again.reported.figures("after")
        print(first, before, after)
        assert before == pytest.approx(first, abs=1e-3)
        assert after["loss"] != pytest.approx(before["loss"], abs=1e-2)
        assert after["ndcg@10"] > CHANCE_NDCG + 0.15

    def test_both_are_served_as_one_over_the_whole_base(
        self, again: Trained, trained: Callable[..., Trained], models_dir: Path
    ) -> None:
        first, served = trained("colqwen2.5"), again.serve(models_dir)
        assert least_cosine(again.model, served) >= 0.9999
        assert least_cosine(first.model, served) < 0.99
        config = json.loads((again.result / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "untrained/colqwen2.5"
        assert (config["r"], config["lora_alpha"], config["target_modules"]) == (40, 40, TARGETS["colqwen2.5"])
        assert {file.name for file in again.result.iterdir()} == {file.name for file in first.result.iterdir()}

    def test_merged_it_is_the_same(
        self, again: Trained, run: Train, trained: Callable[..., Trained], models_dir: Path
    ) -> None:
        merge = again.task.lora.model_copy(update={"merge": True})
        merged = run(replace(again.task, lora=merge, model_name="again-merged"), N_PAGES)
        assert not (merged.result / "adapter_config.json").exists()
        assert least_cosine(merged.serve(models_dir), again.model) >= 0.9999

    def test_a_third_time(self, again: Trained, run: Train, models_dir: Path) -> None:
        third = run(further(again, LoraOptions(r=4, lora_alpha=4, lora_dropout=0.0), "third"), 24)
        assert least_cosine(third.model, third.serve(models_dir)) >= 0.9999
        assert json.loads((third.result / "adapter_config.json").read_text())["r"] == 44


def further(first: Trained, lora: LoraOptions, model_name: str) -> TrainingTask:
    """A job that trains the result of another for an epoch."""
    options = LEARNING.model_copy(update={"epochs": 1})
    return replace(first.task, adapter_path=first.result, options=options, lora=lora, model_name=model_name)


def save_always(callback: Any, args: Any, state: Any, control: Any, **references: Any) -> None:
    control.should_save = True


class FailsAt:
    """The training's loss, until the process is stopped in this step."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.loss = late_interaction_loss

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return self.loss(*args, **kwargs)
