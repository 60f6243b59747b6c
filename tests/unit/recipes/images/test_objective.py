import pytest
import torch
from torch.nn.functional import affine_grid, avg_pool2d, cosine_similarity, grid_sample, interpolate
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from recipes.images.objective import (
    N_PLACES,
    Features,
    Learner,
    features,
    found_pieces,
    losses,
    matching,
    same_places,
    step,
)
from recipes.images.views import Change, Views, random_placement, random_views
from recipes.images.whitening import whiten
from recipes.precision import fast_bfloat16

CHANGE = Change(least_area=0.5, turned=0.5, recolored=0.5)
DIM = 16


def some_views(n_collages: int) -> list[Views]:
    pictures, pasted = torch.rand(6, 3, 64, 64), torch.rand(n_collages, 64, 64)
    return [random_views(pictures, *size, [CHANGE], pasted) for size in ((48, 64), (32, 32))]


@pytest.fixture
def model() -> DINOv3ViTModel:
    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=DIM, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_register_tokens=2
    )
    return DINOv3ViTModel(config)


def test_features_have_a_row_for_each_patch(model: DINOv3ViTModel) -> None:
    found = features(model, torch.rand(2, 3, 48, 32))
    assert found.whole.shape == (2, DIM)
    assert found.patches.shape == (2, DIM, 3, 2)


@pytest.mark.parametrize("n_collages", [0, 2])
def test_gradients_reach_everything_but_the_mask_token(model: DINOv3ViTModel, n_collages: int) -> None:
    learner = Learner(model.train())
    step(learner, *some_views(n_collages))
    without = {name for name, parameter in learner.named_parameters() if parameter.grad is None}
    head = set() if n_collages else {"pasted.weight", "pasted.bias"}
    assert without - {"model.embeddings.mask_token"} == head


def test_a_step_of_two_threads_has_the_gradients_of_the_losses(model: DINOv3ViTModel) -> None:
    learner, views = Learner(model.eval()), some_views(2)
    torch.manual_seed(3)
    found = step(learner, *views)
    found["loss"].backward()
    gradients = [parameter.grad for parameter in learner.parameters()]
    learner.zero_grad(set_to_none=True)
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16, enabled=fast_bfloat16()):
        both = [(features(model, each.pixels), each) for each in views]
    expected = losses(learner, *both)
    expected["loss"].backward()
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found["loss"], expected["loss"])
    for gradient, parameter in zip(gradients, learner.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-3, rtol=0.05)


def test_pieces_are_learnt_from_their_place(model: DINOv3ViTModel) -> None:
    """A head that reads brightness finds bright pieces; one that reads darkness does not."""
    pasted = (torch.rand(4, 4, 4) > 0.5).float().repeat_interleave(16, 1).repeat_interleave(16, 2)
    still = Change(least_area=1.0, turned=0.0, recolored=0.0)
    views = random_views(torch.rand(6, 3, 64, 64), 64, 64, [still], pasted)
    shares = avg_pool2d(views.pasted[:, None], 16)
    found = Features(torch.zeros(6, 1), torch.cat([torch.zeros(2, 1, 4, 4), 2 * shares - 1]))
    head = torch.nn.Linear(1, 1)
    for sign, low, high in ((1, 0.0, 0.3), (-1, 1.0, 9.0)):
        torch.nn.init.constant_(head.weight, 4.0 * sign)
        torch.nn.init.zeros_(head.bias)
        assert low <= found_pieces(head, found, views).item() < high


def test_matching_costs_nothing_for_rows_that_only_find_themselves() -> None:
    assert matching(torch.eye(8), 3 * torch.eye(8)) < 0.001
    assert matching(torch.eye(8), torch.eye(8).roll(1, 0)) > 5
    torch.testing.assert_close(matching(torch.ones(8, 2), torch.ones(8, 2)), torch.tensor(8.0).log())


def test_patches_are_paired_by_their_place_in_the_picture() -> None:
    """Vectors that depend on the place in the picture are the same in both views of it."""
    torch.manual_seed(0)
    world = interpolate(torch.randn(32, DIM, 3, 3), 16, mode="bicubic")
    placements = [random_placement([CHANGE] * 32) for _ in range(2)]
    views = [
        grid_sample(world, affine_grid(placement, [32, DIM, 14, 14], align_corners=False), align_corners=False)
        for placement in placements
    ]
    first, second = same_places(views[0], views[1], *placements)
    assert first.shape == second.shape == (N_PLACES, DIM)
    assert cosine_similarity(first, second, dim=1).quantile(0.1) > 0.9
    exchanged, _ = same_places(views[0], views[1], *placements[::-1])
    assert cosine_similarity(exchanged, second, dim=1).mean() < 0.5


def test_whitened_filters_answer_with_even_strength() -> None:
    torch.manual_seed(0)
    embedding = torch.nn.Conv2d(3, 12, 4, stride=4)
    pixels = interpolate(torch.randn(64, 3, 8, 8), 32, mode="bilinear")
    whiten(embedding, pixels)
    answers = embedding(pixels).transpose(0, 1).flatten(1)
    torch.testing.assert_close(answers.mean(dim=1), torch.zeros(12), atol=1e-4, rtol=0)
    deviations = answers.std(dim=1)
    assert deviations.max() < 1.5 * deviations.min()
