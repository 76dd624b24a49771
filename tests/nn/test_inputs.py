import pytest
import torch

from fcnexp.nn.inputs import RgbRecipe

CAFFE = RgbRecipe(order="bgr", mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))


def test_bytes_become_bgr_minus_mean():
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert CAFFE.apply(red, torch.tensor([[1, 1]])).flatten().tolist() == [-104.0, -117.0, 132.0]


def test_torchvisions_recipe_keeps_rgb_and_divides():
    recipe = RgbRecipe(order="rgb", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    pixel = torch.tensor([12, 20, 40], dtype=torch.uint8).view(1, 3, 1, 1)
    assert recipe.apply(pixel, torch.tensor([[1, 1]])).flatten().tolist() == [1.0, 0.0, 2.0]


def test_padding_becomes_exactly_the_mean_colour():
    rgb = torch.randint(0, 256, (2, 3, 5, 6), dtype=torch.uint8)
    x = CAFFE.apply(rgb, torch.tensor([[5, 6], [3, 4]]))
    assert not x[1, :, 3:].any() and not x[1, :, :, 4:].any()
    torch.testing.assert_close(
        x[1:, :, :3, :4], CAFFE.apply(rgb[1:, :, :3, :4], torch.tensor([[3, 4]]))
    )


def test_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order=gbr: allowed are bgr and rgb"):
        RgbRecipe(order="gbr", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
