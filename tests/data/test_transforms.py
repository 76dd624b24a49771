import pytest
import torch

from fcnexp import VOID
from fcnexp.data.collate import collate
from fcnexp.data.sample import Sample
from fcnexp.data.transforms import Augment


def coded(height: int, width: int) -> Sample:
    """Image whose red and green are each pixel's row and column; the label is row + column."""
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.uint8)[None].expand(height, width)
    image = torch.stack([rows, columns, torch.zeros_like(rows)])
    return Sample("coded", {"rgb": image}, (rows + columns).clone())


def augment(**changes) -> Augment:
    neutral = {
        "resize": None,
        "mirror": 0,
        "scale": (1, 1),
        "jitter": 0,
        "crop": None,
        "drop_smaller": False,
        "colour": 0,
    }
    return Augment(**neutral | changes)


def many_fields(height: int, width: int) -> Sample:
    """As `coded`, with HHA like the colour and depth 1000 * row + column."""
    sample = coded(height, width)
    rows, columns = sample.fields["rgb"][:2].int()
    fields = {"depth": (1000 * rows + columns)[None], "hha": sample.fields["rgb"].clone()}
    return Sample("coded", fields | sample.fields, sample.label)


def test_neutral_values_change_nothing():
    sample = coded(5, 6)
    assert augment()(sample, seed=3) is sample


@pytest.mark.parametrize("changes", [{"mirror": 1}, {"crop": 7}, {"mirror": 0.5, "crop": 9}])
def test_image_and_label_stay_aligned(changes):
    for seed in range(8):
        out = augment(**changes)(coded(12, 15), seed)
        rgb = out.fields["rgb"]
        assert torch.equal(rgb[0] + rgb[1], out.label)


@pytest.mark.parametrize(
    "changes", [{"mirror": 1}, {"crop": 7}, {"crop": (5, 40)}, {"mirror": 0.5, "crop": 9}]
)
def test_all_fields_stay_aligned(changes):
    seen = set()
    for seed in range(8):
        out = augment(**changes)(many_fields(12, 15), seed)
        rows, columns = out.fields["rgb"][:2].int()
        assert torch.equal(out.fields["depth"][0], 1000 * rows + columns)
        assert torch.equal(out.fields["hha"], out.fields["rgb"])
        assert torch.equal(out.label.int(), rows + columns)
        seen.add(int(out.fields["depth"][0, 0, 0]))
    assert out.fields["depth"].dtype == torch.int32 and seen != {0}  # it did change something


@pytest.mark.parametrize("factor", [0.6, 1.0 + 1e-9, 1.7])
def test_depth_and_label_scale_by_the_same_pixel(factor):
    out = augment(scale=(factor, factor))(many_fields(40, 60), seed=0)
    depth = out.fields["depth"][0]
    rows, columns = depth // 1000, depth % 1000
    assert depth.shape == (round(40 * factor), round(60 * factor))
    assert torch.equal(rows + columns, out.label.int())  # fails if depths are averaged
    assert (rows - out.fields["rgb"][0].int()).abs().max() <= 1


def test_hha_scales_like_colour():
    noise = torch.randint(256, (3, 20, 30), dtype=torch.uint8)  # on a ramp, nearest would pass too
    sample = Sample("noise", {"rgb": noise, "hha": noise.clone()}, noise[0].clone())
    out = augment(scale=(0.7, 0.7))(sample, seed=0)
    assert torch.equal(out.fields["hha"], out.fields["rgb"])
    assert not torch.equal(out.fields["hha"][0], out.label)


def test_missing_depth_is_not_averaged_with_its_neighbours():
    sample = many_fields(20, 20)
    sample.fields["depth"] = torch.where(torch.eye(20).bool(), 0, 3000).int()[None]
    out = augment(scale=(0.7, 0.7))(sample, seed=0)
    assert out.fields["depth"].unique().tolist() == [0, 3000]


def test_colour_changes_rgb_alone():
    sample = many_fields(9, 9)
    out = augment(colour=0.5)(sample, seed=1)
    assert not torch.equal(out.fields["rgb"], sample.fields["rgb"])
    for name in ("hha", "depth"):
        assert torch.equal(out.fields[name], sample.fields[name])
    sample.fields.pop("rgb")
    assert torch.equal(augment(colour=0.5)(sample, seed=1).fields["hha"], sample.fields["hha"])


@pytest.mark.parametrize(
    ("crop", "size"), [(7, (7, 7)), ((5, 8), (5, 8)), ([20, 4], (12, 4)), ((6, 99), (6, 15))]
)
def test_crop_is_a_side_or_height_and_width(crop, size):
    assert augment(crop=crop)(coded(12, 15), seed=0).label.shape == size


@pytest.mark.parametrize("crop", [(5,), (1, 2, 3), 0, True, (4, -1), 7.5, (4, 7.5), "ab"])
def test_other_crops_are_refused(crop):
    with pytest.raises(
        ValueError, match=r"crop=.*: must be null, a largest side in pixels, or a pair"
    ):
        augment(crop=crop)


@pytest.mark.parametrize(("resize", "size"), [(9, (9, 9)), ((20, 7), (20, 7))])
def test_resize_comes_before_the_crop(resize, size):
    out = augment(resize=resize)(many_fields(12, 15), seed=0)
    assert out.label.shape == size and out.fields["rgb"].shape == (3, *size)
    rows, columns = out.fields["depth"][0] // 1000, out.fields["depth"][0] % 1000
    assert torch.equal(rows + columns, out.label.int())  # both take the same pixel
    for found, side, axis in ((rows[:, 0], 12, 0), (columns[0], 15, 1)):
        middles = (torch.arange(size[axis]) + 0.5) * side / size[axis]
        assert found.tolist() == middles.int().tolist()
    assert augment(resize=resize, crop=6)(coded(12, 15), seed=0).label.shape == (6, 6)


def test_image_may_become_one_pixel():
    """torch itself fails on three channels. The pixel is the rounded mean of all."""
    for height, width in ((2, 1), (5, 3), (1, 1), (1, 4)):
        sample = many_fields(height, width)
        mean = sample.fields["rgb"].double().mean((1, 2))
        out = augment(resize=1)(sample, seed=0)
        assert out.label.shape == (1, 1) and out.fields["rgb"].shape == (3, 1, 1)
        assert (out.fields["rgb"].flatten().double() - mean).abs().max() <= 1


@pytest.mark.parametrize("resize", [(5,), 0, True, 7.5, "ab"])
def test_other_resizes_are_refused(resize):
    with pytest.raises(ValueError, match=r"resize=.*: must be null, a side in pixels, or a pair"):
        augment(resize=resize)


def test_drop_smaller_keeps_images_that_contain_the_crop():
    change = augment(crop=(320, 480), drop_smaller=True)
    assert change.keeps((320, 480)) and change.keeps((500, 481))
    assert not change.keeps((319, 500)) and not change.keeps((500, 479))
    assert augment(crop=(320, 480)).keeps((1, 1))


def test_drop_smaller_needs_a_crop():
    with pytest.raises(ValueError, match=r"drop_smaller=true, but crop=null.*augment\.crop="):
        augment(drop_smaller=True)


def test_mirror_swaps_left_and_right():
    out = augment(mirror=1)(coded(2, 4), seed=0)
    assert out.fields["rgb"][1, 0].tolist() == [3, 2, 1, 0]


def test_crop_never_pads_and_reaches_every_position():
    corners = set()
    for seed in range(60):
        out = augment(crop=3)(coded(4, 2), seed)
        assert out.label.shape == (3, 2)
        corners.add(int(out.fields["rgb"][0, 0, 0]))
    assert corners == {0, 1}


def test_jitter_moves_all_fields_and_the_label_together():
    shifts = set()
    for seed in range(60):
        out = augment(jitter=2)(many_fields(9, 12), seed)
        rows, columns = out.fields["rgb"][:2].int()
        known = out.label != VOID
        assert torch.equal(out.fields["hha"], out.fields["rgb"])
        assert torch.equal(out.fields["depth"][0], 1000 * rows + columns)
        assert torch.equal(out.label[known].int(), (rows + columns)[known])
        down, right = 4 - int(rows[4, 6]), 6 - int(columns[4, 6])
        assert known.sum() == (9 - abs(down)) * (12 - abs(right))
        shifts.add((down, right))
    assert {down for down, _ in shifts} == {right for _, right in shifts} == {-2, -1, 0, 1, 2}


def test_jitter_repeats_the_edge_and_labels_it_void():
    """Compare pixel by pixel with slow loops."""
    for seed in range(20):
        out = augment(jitter=3)(coded(7, 7), seed)
        rows, columns = out.fields["rgb"][:2].int()
        down, right = 3 - int(rows[3, 3]), 3 - int(columns[3, 3])
        for y in range(7):
            for x in range(7):
                row, column = min(max(y - down, 0), 6), min(max(x - right, 0), 6)
                assert (rows[y, x], columns[y, x]) == (row, column)
                inside = (row, column) == (y - down, x - right)
                assert out.label[y, x] == (row + column if inside else VOID)


def test_jitter_larger_than_the_image_keeps_part_of_it():
    for seed in range(20):
        out = augment(jitter=32)(coded(1, 3), seed)
        assert out.label.shape == (1, 3) and (out.label != VOID).any()


@pytest.mark.parametrize("jitter", [-1, 1.5, True, None, "32"])
def test_other_jitters_are_refused(jitter):
    with pytest.raises(ValueError, match=r"jitter=.*: must be a number of pixels, 0 or more"):
        augment(jitter=jitter)


def test_scale_resizes_both_without_new_label_values():
    sample = coded(20, 30)
    sample.label[:] = torch.where(sample.label > 20, VOID, 4)
    for seed in range(8):
        out = augment(scale=(0.5, 1.5))(sample, seed)
        assert out.fields["rgb"].shape[1:] == out.label.shape
        assert 10 <= out.label.shape[0] <= 30
        assert set(out.label.unique().tolist()) <= {4, VOID}


@pytest.mark.parametrize("factor", [0.6, 0.8, 1.3])
def test_scaled_label_is_aligned_with_the_scaled_image(factor):
    """Compare the mean coordinates that label and image encode as a ramp."""
    out = augment(scale=(factor, factor))(coded(40, 60), seed=0)
    inner = slice(4, -4)
    rows, columns = out.fields["rgb"][:2, inner, inner].double()
    gap = (out.label[inner, inner].double() - rows - columns).mean() * factor
    assert abs(gap) < 0.15  # pixels of the result; torchvision's own mask resize gives 0.4 and more


def test_same_seed_gives_same_result_after_other_draws():
    change = augment(mirror=0.5, crop=5, scale=(0.7, 1.3), colour=0.3)
    first = change(coded(12, 12), seed=11)
    torch.rand(5)
    second = change(coded(12, 12), seed=11)
    assert torch.equal(first.fields["rgb"], second.fields["rgb"])
    assert torch.equal(first.label, second.label)


def test_augmenting_does_not_change_the_global_generator():
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


def test_collate_pads_depth_with_missing():
    batch = collate([many_fields(2, 5), many_fields(4, 3)])
    depth = batch.fields["depth"]
    assert depth.dtype == torch.int32 and depth.shape == (2, 1, 4, 5)
    assert depth[1, 0, 3].tolist() == [3000, 3001, 3002, 0, 0]
    assert (batch.fields["hha"][0, :, 2:] == 0).all()
