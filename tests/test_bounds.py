"""`python -m fcnexp.bounds`: the paper's upper bounds on mean IU, from ground truth alone."""

import hashlib
import json

import pytest
import torch
from commands import fcnexp
from PIL import Image
from torch import Tensor

from fcnexp import VOID
from fcnexp.bounds import PROTOCOLS, shrink_and_enlarge
from fcnexp.data.lists import read_ids
from fcnexp.data.voc import seg11valid
from fcnexp.papers.published import UPPER_BOUNDS
from fcnexp.task.scores import SegmentationScores

# Percent, on the 736 labels of seg11valid; `bilinear` matches the paper's row.
MEASURED = {
    "bilinear": {128: 51.53, 64: 73.14, 32: 86.22, 16: 92.84, 8: 96.45, 4: 98.46},
    "area": {128: 54.25, 64: 75.31, 32: 87.39, 16: 93.44, 8: 96.74, 4: 98.60},
    "nearest": {128: 52.70, 64: 68.57, 32: 81.16, 16: 90.04, 8: 94.96, 4: 97.27},
}


def random_label(height: int, width: int) -> Tensor:
    """Patches of 5 classes and void, uint8."""
    coarse = torch.randint(0, 6, (-(-height // 3), -(-width // 3)))
    label = coarse.repeat_interleave(3, 0).repeat_interleave(3, 1)[:height, :width]
    return torch.where(label == 5, VOID, label * 4).to(torch.uint8)


def labels_on_disk(root, labels: dict[str, Tensor], listed: str | None = "val"):
    (root / "SegmentationClass").mkdir(parents=True)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for name, label in labels.items():
        Image.fromarray(label.numpy()).save(root / f"SegmentationClass/{name}.png")
    if listed:
        (root / f"ImageSets/Segmentation/{listed}.txt").write_text("\n".join(labels))
    return root


def bounds(tmp_path, *arguments: str):
    return fcnexp("bounds", *arguments, "hydra.run.dir=out", folder=tmp_path, cache=tmp_path)


def by_loops(label: Tensor, factor: int, protocol: str) -> list[list[int]]:
    """Compute `shrink_and_enlarge` pixel by pixel, in plain numbers."""
    labels = [[0 if v == VOID else v for v in row] for row in label.tolist()]
    height, width = label.shape

    def centre(cell: int) -> float:
        return cell * factor + (factor - 1) / 2

    def peak(pixel: int, cell: int) -> float:
        return max(0.0, 1 - abs(pixel - centre(cell)) / factor)

    def weights(cell: int, side: int) -> list[float]:
        if protocol == "nearest":
            middle = min(cell * factor + factor // 2, side - 1)
            raw = [float(pixel == middle) for pixel in range(side)]
        elif protocol == "area":
            raw = [float(pixel // factor == cell) for pixel in range(side)]
        else:
            raw = [peak(pixel, cell) for pixel in range(side)]
        return [weight / sum(raw) for weight in raw]

    def share(kind: int, i: int, j: int) -> float:
        down, across = weights(i, height), weights(j, width)
        return sum(
            down[y] * across[x] * (labels[y][x] == kind)
            for y in range(height)
            for x in range(width)
        )

    def cell_weights(pixel: int, cells: int) -> list[float]:
        if protocol == "nearest":
            return [float(pixel // factor == cell) for cell in range(cells)]
        raw = [peak(pixel, cell) for cell in range(cells)]
        return [weight / sum(raw) for weight in raw]

    rows, columns = -(-height // factor), -(-width // factor)
    kinds = sorted({v for row in labels for v in row})
    grids = {
        kind: [[share(kind, i, j) for j in range(columns)] for i in range(rows)] for kind in kinds
    }

    def winner(y: int, x: int) -> int:
        down, across = cell_weights(y, rows), cell_weights(x, columns)
        score = {
            kind: sum(down[i] * across[j] * grid[i][j] for i in range(rows) for j in range(columns))
            for kind, grid in grids.items()
        }
        return max(kinds, key=lambda kind: round(score[kind], 6))  # the first of equal scores

    return [[winner(y, x) for x in range(width)] for y in range(height)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("height", "width", "factor"), [(13, 11, 4), (9, 14, 3), (7, 5, 8)])
def test_protocol_equals_slow_loops(protocol, height, width, factor):
    label = random_label(height, width)
    slow = torch.tensor(by_loops(label, factor, protocol))
    assert torch.equal(shrink_and_enlarge(label, factor, protocol), slow)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_factor_1_gives_100(protocol):
    label = random_label(17, 23)
    scores = SegmentationScores(21)
    scores.update(shrink_and_enlarge(label, 1, protocol)[None], label[None])
    assert scores.compute()["miou"] == 1 and (label == VOID).any()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("factor", [2, 5, 8, 32])
def test_regions_aligned_with_cells_are_unchanged(protocol, factor):
    label = torch.zeros(2 * factor, 4 * factor, dtype=torch.uint8)
    label[:, 2 * factor :] = 15
    assert torch.equal(shrink_and_enlarge(label, factor, protocol), label.long())


def test_checkerboard_finer_than_a_cell_is_lost():
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    label = board.to(torch.uint8)
    assert not shrink_and_enlarge(label, 2, "area").any()  # equal fractions: the lower index
    kept = shrink_and_enlarge(label, 2, "nearest")
    assert not kept.any()  # the pixel below and right of each cell's middle
    assert torch.equal(shrink_and_enlarge(label, 1, "bilinear"), board)


def test_void_is_background_in_the_cells_and_never_scored(tmp_path):
    label = torch.full((8, 8), VOID, dtype=torch.uint8)
    label[:4, :4] = 3  # a quarter is class 3; the rest is void
    assert set(shrink_and_enlarge(label, 4, "nearest").unique().tolist()) == {0, 3}
    root = labels_on_disk(tmp_path / "voc", {"a": label})
    arguments = (f"data.root={root}", "data.val_split=val", "factors=[4]", "protocol=nearest")
    done = bounds(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    # If scored, background would be predicted for 48 void pixels and halve the mean.
    assert json.loads((tmp_path / "out/result.json").read_text())["miou"] == {"4": 1.0}


def test_command_prints_our_bounds_next_to_the_papers(tmp_path):
    root = labels_on_disk(tmp_path / "voc", {"a": random_label(20, 30), "b": random_label(9, 9)})
    done = bounds(tmp_path, f"data.root={root}", "data.val_split=val", "factors=[1,4]")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines()]
    assert ["1", "100.00", "-", "-"] in rows
    row = next(row for row in rows if row[:1] == ["4"])
    assert row[2] == "98.5" and float(row[3]) == pytest.approx(float(row[1]) - 98.5, abs=0.011)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


def test_seg11valid_needs_no_list_file(tmp_path):
    label = torch.zeros(2, 2, dtype=torch.uint8)
    root = labels_on_disk(tmp_path / "voc", dict.fromkeys(seg11valid(), label), listed=None)
    done = bounds(tmp_path, f"data.root={root}", "factors=[2]", "protocol=nearest")
    assert done.returncode == 0 and "736 label maps" in " ".join(done.stdout.split())


def test_sweep_has_a_row_for_each_protocol_on_any_data(tmp_path):
    few = ("sweeps=bounds", "data=shapes", "data.num_train=1", "data.num_val=2", "factors=[32]")
    done = bounds(tmp_path, *few, "hydra.sweep.dir=out")
    assert done.returncode == 0, done.stderr
    for protocol in PROTOCOLS:
        found = json.loads((tmp_path / f"out/{protocol}/result.json").read_text())
        assert found["protocol"] == protocol and found["label_maps"] == 2
        assert found["data"]["_target_"] == "fcnexp.data.splits.Shapes"
        assert 0.1 < found["miou"]["32"] < 1


def test_seg11valid_equals_the_reference_release():
    ids = seg11valid()
    assert len(ids) == len(set(ids)) == 736 and ids == sorted(ids)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    assert digest == "33d3d44294e02741ecd3877459009a5d5f937069edde1a441bfcd5f38029d59b"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["protocol=bicubic"], "protocol=bicubic: choose one of bilinear, area, nearest"),
        (["factors=[0,4]"], "factors=[0, 4]: must be different numbers, 1 or more"),
        (["factors=[]"], "factors=[]: must be different numbers, 1 or more; try factors=[32,16,8]"),
        (["factors=[4,4]"], "factors=[4, 4]: must be different numbers, 1 or more"),
        (["data.val_split=nope"], "nope: no such list"),
        (["data.root=nowhere"], "data.root=nowhere: no such folder"),
        (["factor=4"], "factor: no such key (did you mean factors?)"),
    ],
)
def test_mistake_prints_one_line(tmp_path, arguments, message):
    root = labels_on_disk(tmp_path / "voc", {"a": random_label(4, 4)})
    done = bounds(tmp_path, f"data.root={root}", *arguments)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


def test_missing_label_is_named(tmp_path):
    root = labels_on_disk(tmp_path / "voc", {"a": random_label(4, 4)})
    (root / "SegmentationClass/a.png").unlink()
    done = bounds(tmp_path, f"data.root={root}", "data.val_split=val")
    assert done.returncode == 1 and "a.png: no such label" in done.stderr


@pytest.mark.real_data
def test_seg11valid_equals_the_published_list(shared_data):
    listed = shared_data / "voc/ImageSets/Segmentation/seg11valid.txt"
    assert read_ids(listed) == seg11valid()


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize("protocol", MEASURED)
def test_bounds_match_the_paper(shared_data, tmp_path, protocol):
    done = bounds(tmp_path, f"data.root={shared_data / 'voc'}", f"protocol={protocol}")
    assert done.returncode == 0, done.stderr
    ours = json.loads((tmp_path / "out/result.json").read_text())["miou"]
    for factor, percent in MEASURED[protocol].items():
        assert 100 * ours[str(factor)] == pytest.approx(percent, abs=0.05)
        if protocol == "bilinear":
            assert 100 * ours[str(factor)] == pytest.approx(UPPER_BOUNDS[factor], abs=1.0)
