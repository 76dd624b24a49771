"""Image and label stay aligned through every transform and into a batch."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from properties import holds

from fcnexp import VOID
from fcnexp.data.collate import collate
from fcnexp.data.datamodule import OwnShare
from fcnexp.data.files import read_label_png
from fcnexp.data.palette import indices_of_colours, save_indexed, voc_palette
from fcnexp.data.sample import Sample
from fcnexp.data.sampling import Dealt, EndlessShuffle, ReleaseDraws
from fcnexp.data.transforms import Augment

BLOCK = 7  # pixels: the narrowest region, so that halving an image loses no class
COLOUR = 40  # of class 1; class k has k times that
SEEDS = st.integers(0, 2**31)
SIDES = st.integers(1, 30)
NEUTRAL = {"resize": None, "scale": (1, 1), "drop_smaller": False}
MOVES = st.fixed_dictionaries(
    {
        "mirror": st.sampled_from([0, 0.5, 1]),
        "jitter": st.integers(0, 40),
        "crop": st.none() | st.integers(1, 70) | st.tuples(st.integers(1, 70), st.integers(1, 70)),
        "colour": st.sampled_from([0, 0.5]),
    }
)
STILL = {"mirror": 0, "jitter": 0, "crop": None, "colour": 0}
FACTORS = st.floats(0.5, 2)


def told(height: int, width: int) -> Sample:
    """Encode each pixel's row and column in every field, and in the label a class in 0-250."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([rows, columns, (rows * 7 + columns * 3) % 251]).to(torch.uint8)
    fields = {"rgb": image, "hha": image.clone(), "depth": (1000 * rows + columns).int()[None]}
    return Sample("told", fields, image[2].clone())


def blocks(seed: int, height: int, width: int) -> Sample:
    """Blocks of classes 0 to 5, whose colours and depths encode the class."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 6, (height // BLOCK + 1, width // BLOCK + 1))
    label = np.kron(cells, np.ones((BLOCK, BLOCK)))[:height, :width].astype(np.uint8)
    image = torch.from_numpy(np.stack([COLOUR * label] * 3))
    depth = torch.from_numpy(1000 * label.astype(np.int32))[None]
    return Sample("blocks", {"rgb": image, "hha": image, "depth": depth}, torch.from_numpy(label))


def sides_of(crop, height: int, width: int) -> tuple[int, int]:
    """Size after cropping an image of this size."""
    most = (height, width) if crop is None else (crop, crop) if isinstance(crop, int) else crop
    return min(most[0], height), min(most[1], width)


@holds(150, st.integers(1, 60), st.integers(1, 60), MOVES, SEEDS)
def test_moved_pixels_keep_their_label_or_are_void(height, width, moves, seed):
    out = Augment(**NEUTRAL | moves)(told(height, width), seed)
    depth = out.fields["depth"][0].long()
    rows, columns = depth // 1000, depth % 1000
    assert out.label.shape == depth.shape == sides_of(moves["crop"], height, width)
    known = out.label != VOID
    assert torch.equal(out.label[known].long(), ((rows * 7 + columns * 3) % 251)[known])
    for name in ("hha", *(["rgb"] if not moves["colour"] else [])):
        assert torch.equal(out.fields[name][:2].long(), torch.stack([rows, columns]))
    for places, axis in ((rows, 0), (columns, 1)):
        step = places.diff(dim=axis)
        both = known.narrow(axis, 0, step.shape[axis]) & known.narrow(axis, 1, step.shape[axis])
        assert (step[both].abs() == 1).all()
        # Jitter repeats the edge, whose own pixels are adjacent and known.
        assert not known.any() or set(places[known].tolist()) == set(places.flatten().tolist())
    assert known.any(1).sum() * known.any(0).sum() == known.sum()  # a rectangle
    assert moves["jitter"] or known.all()


@holds(100, SEEDS, st.integers(20, 60), st.integers(20, 60), FACTORS, MOVES, SEEDS)
def test_scaled_pixels_keep_their_label(seed, height, width, factor, moves, draw):
    out = Augment(**NEUTRAL | moves | {"scale": (factor, factor)})(
        blocks(seed, height, width), draw
    )
    scaled = [max(1, round(side * factor)) for side in (height, width)]
    check_blocks(out, factor, sides_of(moves["crop"], *scaled), coloured=moves["colour"])


@holds(60, SEEDS, st.integers(20, 60), st.integers(20, 60), FACTORS, FACTORS, MOVES)
def test_resized_pixels_keep_their_label(seed, height, width, down, right, moves):
    size = (round(height * down), round(width * right))
    out = Augment(**NEUTRAL | moves | {"resize": size})(blocks(seed, height, width), seed)
    check_blocks(out, max(down, right), sides_of(moves["crop"], *size), coloured=moves["colour"])


@holds(80, SIDES, SIDES, SIDES, SIDES)
def test_resized_label_and_depth_take_the_nearest_pixel(height, width, high, wide):
    out = Augment(**NEUTRAL | STILL | {"resize": (high, wide)})(told(height, width), 0)
    rows, columns = out.fields["depth"][0] // 1000, out.fields["depth"][0] % 1000
    assert torch.equal(out.label.int(), (rows * 7 + columns * 3) % 251)
    for places, side, size in ((rows[:, 0], height, high), (columns[0], width, wide)):
        middles = (torch.arange(size).double() + 0.5) * side / size
        # Between two pixels, either is correct.
        apart = torch.minimum((middles - places).abs(), (middles - places - 1).abs())
        inside = (places <= middles) & (middles < places + 1)
        assert (inside | (apart < 1e-4)).all()


def check_blocks(out: Sample, factor: float, size: tuple[int, int], *, coloured: float) -> None:
    """Depth matches the label everywhere, colours if the interpolation saw only one class."""
    known = out.label != VOID
    assert out.label.shape == size and {x.shape[1:] for x in out.fields.values()} == {size}
    assert torch.equal(out.fields["depth"][0][known], 1000 * out.label[known].int())
    reach = int(np.ceil(max(1, factor))) + 1  # of the interpolation, in output pixels
    window = 2 * reach + 1
    if min(size) < window:
        return
    wide = out.label[None, None].float()
    largest, least = F.max_pool2d(wide, window, 1), -F.max_pool2d(-wide, window, 1)
    inside = (slice(reach, -reach), slice(reach, -reach))
    inner = ((largest == least) & (largest < VOID))[0, 0]
    label = out.label[inside][inner]
    for name in ("hha", *(["rgb"] if not coloured else [])):
        assert (out.fields[name][(slice(None), *inside)][:, inner] == COLOUR * label).all()


@holds(60, SEEDS, SIDES, SIDES, st.floats(0.5, 1), st.floats(1, 2), MOVES, SEEDS)
def test_same_seed_gives_the_same_sample_and_keeps_torchs_state(
    seed, height, width, least, most, moves, draw
):
    change = Augment(**NEUTRAL | moves | {"scale": (least, most)})
    torch.manual_seed(seed)
    first, after = change(blocks(seed, height, width), draw), torch.rand(1)
    torch.manual_seed(seed)
    assert torch.equal(torch.rand(1), after)
    second = change(blocks(seed, height, width), draw)
    assert torch.equal(first.label, second.label)
    assert all(torch.equal(first.fields[name], second.fields[name]) for name in first.fields)
    assert [first.fields[name].dtype for name in ("rgb", "depth")] == [torch.uint8, torch.int32]


@holds(100, st.lists(st.tuples(SIDES, SIDES, st.booleans()), min_size=1, max_size=6), SEEDS)
def test_padded_batch_contains_every_image(sizes, seed):
    draw = torch.Generator().manual_seed(seed)
    samples = []
    for number, (height, width, labelled) in enumerate(sizes):
        rgb = torch.randint(1, 256, (3, height, width), generator=draw).to(torch.uint8)
        depth = torch.randint(1, 9000, (1, height, width), generator=draw).int()
        label = torch.randint(0, 21, (height, width), generator=draw).to(torch.uint8)
        samples.append(
            Sample(str(number), {"rgb": rgb, "depth": depth}, label if labelled else None)
        )
    batch = collate(samples)
    assert batch.names == [sample.name for sample in samples]
    assert batch.sizes.tolist() == [[height, width] for height, width, _ in sizes]
    largest = tuple(max(side) for side in list(zip(*sizes, strict=True))[:2])
    assert batch.label.shape == (len(sizes), *largest)
    for i, (sample, (height, width, _)) in enumerate(zip(samples, sizes, strict=True)):
        beyond = torch.ones(largest, dtype=torch.bool)
        beyond[:height, :width] = False
        for name, field in sample.fields.items():
            padded = batch.fields[name][i]
            assert torch.equal(padded[:, :height, :width], field) and padded.dtype == field.dtype
            assert not padded[:, beyond].any()
        label = torch.full((height, width), VOID) if sample.label is None else sample.label
        assert torch.equal(batch.label[i, :height, :width], label.to(torch.uint8))
        assert (batch.label[i][beyond] == VOID).all()


ORDERS = st.sampled_from([EndlessShuffle, ReleaseDraws])


@holds(100, ORDERS, st.integers(1, 30), SEEDS, st.integers(0, 100), st.integers(1, 60))
def test_start_skips_draws(order, images, seed, start, count):
    whole = list(itertools.islice(order(images, seed), start + count))
    assert list(itertools.islice(order(images, seed, start=start), count)) == whole[start:]
    assert [draw.number for draw in whole] == list(range(start + count))
    assert all(0 <= draw.image < images for draw in whole)


@holds(60, st.integers(1, 30), SEEDS, st.integers(0, 3))
def test_every_epoch_is_a_permutation(images, seed, turn):
    draws = itertools.islice(EndlessShuffle(images, seed), turn * images, (turn + 1) * images)
    assert sorted(draw.image for draw in draws) == list(range(images))


@holds(
    100,
    ORDERS,
    st.integers(1, 20),
    SEEDS,
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(0, 4),
    st.integers(1, 4),
)
def test_processes_together_make_the_draws_of_one(
    order, images, seed, processes, block, skipped, turns
):
    start, each = skipped * processes * block, turns * block
    alone = list(itertools.islice(order(images, seed), start, start + processes * each))
    shares = [
        list(
            itertools.islice(
                Dealt(order(images, seed, start), rank=rank, processes=processes, block=block), each
            )
        )
        for rank in range(processes)
    ]
    dealt = [
        draw
        for turn in range(turns)
        for share in shares
        for draw in share[turn * block : (turn + 1) * block]
    ]
    assert dealt == alone


class Numbers:
    """Samples named by their index."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(range(self.count)[index]), {}, torch.zeros(1))


@holds(60, st.integers(1, 40), st.integers(1, 9))
def test_processes_together_score_every_image_once(count, processes):
    shares = [OwnShare(Numbers(count), rank, processes) for rank in range(processes)]
    samples = [share[i] for share in shares for i in range(len(share))]
    counted = [int(sample.name) for sample in samples if sample.label is not None]
    assert sorted(counted) == list(range(count))
    assert len(samples) - len(counted) == max(0, processes - count)  # every process has one
    for share in shares:
        with pytest.raises(IndexError):
            share[len(share)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("labels")


def test_label_files_preserve_every_index(folder):
    @holds(60, SEEDS, SIDES, SIDES)
    def labels_are_preserved(seed, height, width):
        label = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
        save_indexed(folder / "label.png", label)
        stored = read_label_png(folder / "label.png")
        assert stored.dtype == np.uint8 and np.array_equal(stored, label)

    labels_are_preserved()


@holds(60, SEEDS, SIDES, SIDES, st.integers(1, 256))
def test_colours_map_back_to_indices_and_unknown_ones_are_detected(seed, height, width, count):
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(256)[:count]
    colours = {int(index): tuple(map(int, voc_palette()[index])) for index in chosen}
    label = rng.choice(chosen, (height, width)).astype(np.uint8)
    pixels = voc_palette()[label]
    strange = rng.random((height, width)) < 0.2
    pixels[strange] += np.array([0, 0, 1], np.uint8)  # VOC's palette has no such neighbours
    found, other = indices_of_colours(pixels, colours)
    assert np.array_equal(found[~strange], label[~strange]) and np.array_equal(other, strange)
