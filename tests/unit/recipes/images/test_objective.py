import pytest
import torch
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from recipes.images.objective import Features, SelfSupervision, Weights, features, sinkhorn
from recipes.images.views import Change, Views, random_placement, random_views
from recipes.images.whitening import whiten

CHANGE = Change(least_area=0.5, turned=0.5, recolored=0.5)
DIM = 16


@pytest.fixture
def task() -> SelfSupervision:
    torch.manual_seed(0)
    config = DINOv3ViTConfig(
        hidden_size=DIM, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_register_tokens=2
    )
    return SelfSupervision(DINOv3ViTModel(config), 8, Weights(masked=0.5))


def test_assignments_are_shares_and_use_all_prototypes() -> None:
    torch.manual_seed(0)
    assigned = sinkhorn(torch.randn(400, 8) + torch.arange(8), n_rounds=30)
    torch.testing.assert_close(assigned.sum(dim=1), torch.ones(400))
    torch.testing.assert_close(assigned.sum(dim=0), torch.full((8,), 50.0), atol=1.0, rtol=0)


def test_features_have_a_row_for_each_patch(task: SelfSupervision) -> None:
    found = features(task.model, torch.rand(2, 3, 48, 32))
    assert found.whole.shape == (2, DIM)
    assert found.patches.shape == (2, DIM, 3, 2)


def test_gradients_reach_everything_that_is_trained(task: SelfSupervision) -> None:
    pictures = torch.rand(6, 3, 64, 64)
    losses = task.train().losses(random_views(pictures, 48, 64, CHANGE), random_views(pictures, 48, 64, CHANGE))
    losses["loss"].backward()
    assert {"loss", "whole", "means", "patches"} == set(losses)
    without = [name for name, parameter in task.named_parameters() if parameter.grad is None]
    assert not without


def test_patches_that_follow_the_picture_cost_less_than_patches_that_follow_the_view(task: SelfSupervision) -> None:
    """Vectors that depend on the place in the picture agree between views; those of the place in the view do not."""
    torch.manual_seed(0)
    placements = [random_placement(32, CHANGE) for _ in range(2)]
    views = [Views(torch.zeros(32, 3, 112, 112), placement) for placement in placements]
    task.prototypes.data = torch.randn(8, DIM)
    world = torch.randn(1, DIM, 4, 4)
    same = torch.eye(2, 3).expand(32, 2, 3)

    def seen(placement: torch.Tensor) -> Features:
        points = torch.nn.functional.affine_grid(placement, [32, 3, 7, 7], align_corners=False)
        places = torch.nn.functional.grid_sample(world.expand(32, -1, -1, -1), points, align_corners=False)
        return Features(torch.zeros(32, DIM), places)

    following = task._dense(seen(placements[0]), seen(placements[1]), *views)
    fixed = task._dense(seen(same), seen(same), *views)
    assert following < 0.8 * fixed


def test_whitened_filters_answer_with_even_strength() -> None:
    torch.manual_seed(0)
    embedding = torch.nn.Conv2d(3, 12, 4, stride=4)
    pixels = torch.nn.functional.interpolate(torch.randn(64, 3, 8, 8), 32, mode="bilinear")
    whiten(embedding, pixels)
    answers = embedding(pixels).transpose(0, 1).flatten(1)
    torch.testing.assert_close(answers.mean(dim=1), torch.zeros(12), atol=1e-4, rtol=0)
    deviations = answers.std(dim=1)
    assert deviations.max() < 1.5 * deviations.min()
