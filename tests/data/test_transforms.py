import pytest
import torch

from fcnexp.data.collate import collate
from fcnexp.data.sample import Sample
from fcnexp.data.transforms import Augment
from fcnexp.labels import VOID


def coded(height: int, width: int) -> Sample:
    """Image whose red and green tell each pixel's row and column; the label tells row + column."""
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.uint8)[None].expand(height, width)
    image = torch.stack([rows, columns, torch.zeros_like(rows)])
    return Sample("coded", {"rgb": image}, (rows + columns).clone())


def augment(**changes) -> Augment:
    return Augment(**{"mirror": 0, "scale": (1, 1), "crop": None, "colour": 0} | changes)


def test_neutral_numbers_change_nothing():
    sample = coded(5, 6)
    assert augment()(sample, seed=3) is sample


@pytest.mark.parametrize("changes", [{"mirror": 1}, {"crop": 7}, {"mirror": 0.5, "crop": 9}])
def test_image_and_label_stay_aligned(changes):
    for seed in range(8):
        out = augment(**changes)(coded(12, 15), seed)
        rgb = out.fields["rgb"]
        assert torch.equal(rgb[0] + rgb[1], out.label)


def test_mirror_turns_left_to_right():
    out = augment(mirror=1)(coded(2, 4), seed=0)
    assert out.fields["rgb"][1, 0].tolist() == [3, 2, 1, 0]


def test_crop_never_pads_and_reaches_every_place():
    corners = set()
    for seed in range(60):
        out = augment(crop=3)(coded(4, 2), seed)
        assert out.label.shape == (3, 2)
        corners.add(int(out.fields["rgb"][0, 0, 0]))
    assert corners == {0, 1}


def test_scale_resizes_both_and_invents_no_label():
    sample = coded(20, 30)
    sample.label[:] = torch.where(sample.label > 20, VOID, 4)
    for seed in range(8):
        out = augment(scale=(0.5, 1.5))(sample, seed)
        assert out.fields["rgb"].shape[1:] == out.label.shape
        assert 10 <= out.label.shape[0] <= 30
        assert set(out.label.unique().tolist()) <= {4, VOID}


@pytest.mark.parametrize("factor", [0.6, 0.8, 1.3])
def test_scaled_label_lies_where_the_scaled_image_does(factor):
    """On a ramp: mean of the column that either tells, a pixel's middle at a whole number."""
    out = augment(scale=(factor, factor))(coded(40, 60), seed=0)
    inner = slice(4, -4)
    rows, columns = out.fields["rgb"][:2, inner, inner].double()
    gap = (out.label[inner, inner].double() - rows - columns).mean() * factor
    assert abs(gap) < 0.15  # pixels of the result; 0.4 and more with torchvision's own


def test_same_seed_same_result_whatever_was_drawn_before():
    change = augment(mirror=0.5, crop=5, scale=(0.7, 1.3), colour=0.3)
    first = change(coded(12, 12), seed=11)
    torch.rand(5)
    second = change(coded(12, 12), seed=11)
    assert torch.equal(first.fields["rgb"], second.fields["rgb"])
    assert torch.equal(first.label, second.label)


def test_augmenting_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    augment(mirror=0.5)(coded(3, 3), seed=0)
    assert torch.equal(torch.rand(1), expected)


def test_collate_pads_with_void_at_the_lower_right():
    batch = collate([coded(2, 5), coded(4, 3)])
    assert batch.label.shape == (2, 4, 5) and batch.fields["rgb"].shape == (2, 3, 4, 5)
    assert (batch.label[0, 2:] == VOID).all() and (batch.label[1, :, 3:] == VOID).all()
    assert torch.equal(batch.label[1, :, :3], coded(4, 3).label)
    assert batch.sizes.tolist() == [[2, 5], [4, 3]] and batch.names == ["coded", "coded"]
