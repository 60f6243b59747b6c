"""Pages as bytes, and the numbers made of them, against transformers' own image processors."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from app.families.pixels import Normalization, patches, resize
from tests.parity.visual_pictures import page

WIDTH, HEIGHT = 140, 84


@pytest.fixture
def pixels() -> torch.Tensor:
    """[3, HEIGHT, WIDTH] uint8, as `resize` leaves them."""
    return resize(page(WIDTH, HEIGHT), WIDTH, HEIGHT)


def test_an_image_of_the_right_size_keeps_its_pixels(pixels: torch.Tensor) -> None:
    np.testing.assert_array_equal(pixels.permute(1, 2, 0), np.asarray(page(WIDTH, HEIGHT)))


@pytest.mark.parametrize("size", [(30, 50), (1, 1), (400, 7), (28, 28)])
def test_every_size_can_be_resized(size: tuple[int, int]) -> None:
    resized = resize(Image.new("RGB", size, (250, 130, 10)), 56, 28)
    assert resized.shape == (3, 28, 56)
    assert resized.flatten(1).unique(dim=1).flatten().tolist() == [250, 130, 10]


@pytest.mark.parametrize(
    "settings",
    [{}, {"do_normalize": False}, {"do_rescale": False}, {"rescale_factor": 1 / 127.5, "image_std": [2] * 3}],
)
def test_patches_are_those_of_the_processor(pixels: torch.Tensor, settings: dict[str, object]) -> None:
    """The processor writes each patch twice, once for each of two frames of a film."""
    processor = Qwen2VLImageProcessorPil(**settings)
    expected = processor(
        images=[pixels.contiguous()], do_resize=False, do_convert_rgb=False, input_data_format="channels_first"
    )["pixel_values"].reshape(-1, 3, 2, 14 * 14)
    rows = patches(pixels, side=14, merge=2)
    assert rows.dtype == torch.uint8
    values = Normalization.of(processor)(rows.view(-1, 3, 14 * 14))
    for frame in range(2):
        np.testing.assert_allclose(values, expected[:, :, frame], rtol=1e-6, atol=1e-6)


def test_values_are_those_of_the_processor(pixels: torch.Tensor) -> None:
    processor = SiglipImageProcessorPil(size={"height": HEIGHT, "width": WIDTH})
    expected = processor(images=[page(WIDTH, HEIGHT)], return_tensors="np")["pixel_values"][0]
    values = Normalization.of(processor)(pixels.flatten(1)).view(3, HEIGHT, WIDTH)
    np.testing.assert_allclose(values, expected, atol=1e-6)
