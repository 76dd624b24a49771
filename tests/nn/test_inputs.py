import math

import pytest
import torch

from fcnexp.nn.inputs import Colour, Hha, LogDepth, early, late

CAFFE = Colour(order="bgr", mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0))
HHA = Hha(mean=(132.0, 94.0, 118.0))
DEPTH = LogDepth(mean=7.844)


def pixel(*values: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype).view(1, -1, 1, 1)


def test_uint8_rgb_becomes_bgr_minus_mean():
    assert CAFFE.apply(pixel(255, 0, 0)).flatten().tolist() == [-104.0, -117.0, 132.0]


def test_torchvisions_recipe_keeps_rgb_and_divides():
    recipe = Colour(order="rgb", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    assert recipe.apply(pixel(12, 20, 40)).flatten().tolist() == [1.0, 0.0, 2.0]


def test_hha_keeps_its_channel_order():
    assert HHA.apply(pixel(132, 95, 120)).flatten().tolist() == [0.0, 1.0, 2.0]


def test_depth_is_the_logarithm_of_millimetres_and_missing_is_the_mean():
    found = DEPTH.apply(torch.tensor([2550, 0], dtype=torch.int32).view(1, 1, 1, 2)).flatten()
    torch.testing.assert_close(found, torch.tensor([math.log(2550) - 7.844, 0.0]))


def test_depth_can_have_the_spread_of_colour():
    scaled = LogDepth(mean=7.844, std=0.007)
    found = scaled.apply(torch.tensor([5100, 0], dtype=torch.int32).view(1, 1, 1, 2)).flatten()
    torch.testing.assert_close(found, torch.tensor([(math.log(5100) - 7.844) / 0.007, 0.0]))
    assert early(depth=DEPTH).facts()["fields"] == {"depth": {"mean": 7.844}}  # as of old
    assert early(depth=scaled).facts()["fields"] == {"depth": {"mean": 7.844, "std": 0.007}}
    with pytest.raises(ValueError, match="std=0: must be above 0"):
        LogDepth(mean=7.844, std=0)


def test_padding_becomes_exactly_the_mean():
    recipe = early(rgb=CAFFE, depth=DEPTH)
    fields = {
        "rgb": torch.randint(0, 256, (2, 3, 5, 6), dtype=torch.uint8),
        "depth": torch.randint(500, 9000, (2, 1, 5, 6), dtype=torch.int32),
    }
    found = recipe.apply(fields, torch.tensor([[5, 6], [3, 4]]))
    alone = recipe.apply({k: v[1:, :, :3, :4] for k, v in fields.items()}, torch.tensor([[3, 4]]))
    for name, x in found.items():
        assert not x[1, :, 3:].any() and not x[1, :, :, 4:].any()
        torch.testing.assert_close(x[1:, :, :3, :4], alone[name])


def test_early_fields_share_a_stream_and_late_ones_do_not():
    assert early(depth=DEPTH, rgb=CAFFE).streams == (("rgb", "depth"),)
    assert late(rgb=CAFFE, hha=HHA).streams == (("rgb",), ("hha",))
    assert early(rgb=CAFFE, depth=DEPTH).channels(("rgb", "depth")) == 4


def test_facts_are_plain_values_and_differ_between_recipes():
    facts = late(rgb=CAFFE, hha=HHA).facts()
    assert facts["streams"] == [["rgb"], ["hha"]]
    assert facts["fields"]["hha"] == {"mean": (132.0, 94.0, 118.0)}
    assert facts != early(rgb=CAFFE, hha=HHA).facts()


def test_unknown_order_and_empty_recipe_are_refused():
    with pytest.raises(ValueError, match="order=gbr: allowed are bgr and rgb"):
        Colour(order="gbr", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="give at least one of rgb, depth and hha"):
        early()


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("std", [(1, 1, 1), (58.395, 57.12, 57.375)])
def test_colour_in_one_pass_equals_the_formula_bit_for_bit(order, std):
    mean = (104.00699, 116.66877, 122.67892)
    stored = torch.arange(256, dtype=torch.uint8).repeat(2, 3, 3, 1)
    stored[:, 1] = stored[:, 1].flip(-1)
    found = Colour(order, mean, std).apply(stored)
    x = stored.flip(1) if order == "bgr" else stored
    assert torch.equal(found, (x.float() - column(mean)) / column(std))
    assert found.is_contiguous(memory_format=torch.channels_last)


def column(values):
    return torch.tensor(values).view(1, -1, 1, 1)
