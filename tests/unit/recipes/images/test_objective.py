import pytest
import torch
from torch.nn.functional import affine_grid, cosine_similarity, grid_sample, interpolate
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from recipes.images.objective import N_PLACES, features, losses, matching, same_places
from recipes.images.views import Change, random_placement, random_views
from recipes.images.whitening import whiten

CHANGE = Change(least_area=0.5, turned=0.5, recolored=0.5)
DIM = 16


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


def test_gradients_reach_everything_but_the_mask_token(model: DINOv3ViTModel) -> None:
    pictures = torch.rand(6, 3, 64, 64)
    views = [random_views(pictures, 48, 64, CHANGE) for _ in range(2)]
    losses(model.train(), *views)["loss"].backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without in ([], ["embeddings.mask_token"])


def test_matching_costs_nothing_for_rows_that_only_find_themselves() -> None:
    assert matching(torch.eye(8), 3 * torch.eye(8)) < 0.001
    assert matching(torch.eye(8), torch.eye(8).roll(1, 0)) > 5
    torch.testing.assert_close(matching(torch.ones(8, 2), torch.ones(8, 2)), torch.tensor(8.0).log())


def test_patches_are_paired_by_their_place_in_the_picture() -> None:
    """Vectors that depend on the place in the picture are the same in both views of it."""
    torch.manual_seed(0)
    world = interpolate(torch.randn(32, DIM, 3, 3), 16, mode="bicubic")
    placements = [random_placement(32, CHANGE) for _ in range(2)]
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
