"""More than 255 classes: labels are int16 and void is -1, from 16-bit masks to 16-bit masks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import fcnexp
from PIL import Image

from fcnexp import VOID, WIDE_VOID, label_type
from fcnexp.data.collate import collate
from fcnexp.data.palette import ClassesFile, save_indexed, voc_palette
from fcnexp.data.sample import Sample, value_counts
from fcnexp.data.transforms import Augment
from fcnexp.reporting.pictures import colour, write_panel
from fcnexp.scoring.objects import objects_of
from fcnexp.task.losses import PixelLoss
from fcnexp.task.masking import mask
from fcnexp.task.module import best_class
from fcnexp.task.scores import SegmentationScores
from fcnexp.task.trimap import TrimapScores
from fcnexp.tracking.panels import Panel, errors, of_one_size, shrunk

CLASSES, FEW = 300, 5
OF_FEW = np.array([0, 254, 255, 256, 299])  # class among 300 of each class of 5
SIZE = (24, 32)


def made_up(seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Label with void, and prediction, of FEW classes, uint8 (H, W)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, FEW + 1, (6, 8), np.uint8).repeat(4, 0).repeat(4, 1)
    label = np.where(coarse == FEW, VOID, coarse).astype(np.uint8)
    return label, rng.integers(0, FEW, SIZE, np.uint8)


def wide(label: np.ndarray) -> np.ndarray:
    """The same of 300 classes, int16."""
    table = np.full(VOID + 1, WIDE_VOID, np.int16)
    table[:FEW] = OF_FEW
    return table[label]


def tensors(*maps: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(each) for each in maps]


def test_type_of_labels_depends_on_the_number_of_classes():
    assert [label_type(n) for n in (2, 255, 256, 300)] == ["uint8", "uint8", "int16", "int16"]
    scores = torch.zeros(CLASSES, 2, 2)
    scores[299, 0, 0] = scores[255, 1, 1] = 1
    assert best_class(scores, axis=0).tolist() == [[299, 0], [0, 255]]


def test_scores_of_many_classes_are_those_of_few():
    label, guess = made_up()
    many, few = SegmentationScores(CLASSES), SegmentationScores(FEW)
    many.update(*tensors(wide(guess)[None], wide(label)[None]))
    few.update(*tensors(guess[None], label[None]))
    torch.testing.assert_close(many.matrix[np.ix_(OF_FEW, OF_FEW)], few.matrix)
    assert many.matrix.sum() == few.matrix.sum() == (label != VOID).sum()
    bands = []
    for count, maps in ((CLASSES, (wide(guess), wide(label))), (FEW, (guess, label))):
        trimap = TrimapScores(count, (1, 3))
        trimap.update(*tensors(*(each[None] for each in maps)))
        bands.append(trimap.matrices)
    torch.testing.assert_close(bands[0][:, OF_FEW][:, :, OF_FEW], bands[1])


@pytest.mark.parametrize("value", [CLASSES, -2])
def test_a_label_that_is_no_class_is_refused(value):
    label = torch.full((1, 2, 2), value, dtype=torch.int16)
    with pytest.raises(ValueError, match="label"):
        SegmentationScores(CLASSES).update(torch.zeros_like(label), label)


@pytest.mark.parametrize("reduction", ["mean", "sum", "image_means"])
@pytest.mark.parametrize("void_as", [None, 0])
@pytest.mark.parametrize("balanced", [False, True])
def test_loss_of_many_classes_is_that_of_few(reduction, void_as, balanced):
    label, _ = made_up()
    small = torch.randn(1, FEW, *SIZE)
    scores = torch.full((1, CLASSES, *SIZE), -torch.inf)  # the others have probability 0
    scores[:, OF_FEW] = small
    scores = scores.clamp(min=-1e4)
    weights = torch.arange(1.0, 1 + FEW)
    all_weights = torch.ones(CLASSES)
    all_weights[OF_FEW] = weights
    losses = []
    for values, maps, each in ((small, label, weights), (scores, wide(label), all_weights)):
        balance = each.tolist() if balanced else None
        loss = PixelLoss(reduction=reduction, keep=1, cell=1, balance=balance, void_as=void_as)
        losses.append(loss(values, torch.from_numpy(maps)[None]))
    torch.testing.assert_close(*losses)


def test_squares_left_out_of_the_loss_are_void():
    loss = PixelLoss(reduction="sum", keep=0.5, cell=4, balance=None).train()
    label = torch.full((1, *SIZE), 255, dtype=torch.int16)
    scores = torch.zeros(1, CLASSES, *SIZE)
    part = loss(scores, label) / torch.tensor(CLASSES).log()  # pixels that count
    assert 0 < part < label.numel() and round(float(part)) % 16 == 0


def test_void_is_kept_by_masking_objects_shifts_and_batches():
    label, guess = made_up()
    fields = {"rgb": torch.ones(1, 3, *SIZE)}
    masked = [
        mask(fields, torch.from_numpy(each)[None], "background", dict)["rgb"]
        for each in (label, wide(label))
    ]
    torch.testing.assert_close(*masked)
    few, many = objects_of(label, guess), objects_of(wide(label), wide(guess))
    np.testing.assert_array_equal(OF_FEW[few[0]], many[0])
    np.testing.assert_array_equal(few[1:], many[1:])
    settings = {"resize": [17, 23], "mirror": 0.5, "scale": (0.7, 1.3), "crop": [16, 16]}
    augment = Augment(**settings, drop_smaller=False, colour=0, jitter=8)
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    done = [
        augment(Sample("a", {"rgb": image}, torch.from_numpy(each)), 3)
        for each in (label, wide(label))
    ]
    np.testing.assert_array_equal(wide(done[0].label.numpy()), done[1].label)
    larger = Sample("b", {"rgb": torch.zeros(3, 40, 40, dtype=torch.uint8)}, None)
    batch = collate([larger, done[1]])
    assert batch.label.dtype == torch.int16 and (batch.label[0] == WIDE_VOID).all()
    assert (batch.label[1, 16:] == WIDE_VOID).all()


def test_values_are_counted_with_void_last():
    label, _ = made_up()
    few, many = value_counts(label, FEW), value_counts(wide(label), CLASSES)
    assert len(few) == VOID + 1 and len(many) == CLASSES + 1
    np.testing.assert_array_equal(few[:FEW], many[OF_FEW])
    assert few[-1] == many[-1] == (label == VOID).sum() and many.sum() == label.size


def test_labels_are_saved_as_16_bit_numbers(tmp_path):
    label, _ = made_up()
    save_indexed(tmp_path / "a.png", wide(label))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode.startswith("I;16")
        np.testing.assert_array_equal(np.array(image).astype(np.int16), wide(label))
    from fcnexp.data.masks import read_mask

    classes = ClassesFile(tuple(f"c{i}" for i in range(CLASSES)), {})
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", classes), wide(label))


def test_class_255_has_a_colour_and_void_is_white(tmp_path):
    white = [255, 255, 255]
    drawn = colour(np.array([[255, 299, WIDE_VOID]], np.int16))[0].tolist()
    assert drawn == [*voc_palette(CLASSES)[[255, 299]].tolist(), white]
    assert colour(np.array([[255, 1]], np.uint8))[0].tolist() == [white, [128, 0, 0]]
    assert len({tuple(rgb) for rgb in voc_palette(10_000).tolist()}) == 10_000
    label = wide(made_up()[0])
    write_panel(tmp_path, np.zeros((*SIZE, 3), np.uint8), label, label)
    shown = np.array(Image.open(tmp_path / "truth.png"))
    np.testing.assert_array_equal(shown[..., :3], colour(label))
    np.testing.assert_array_equal(shown[..., 3] == 0, label == 0)


def test_panels_of_wandb_keep_the_classes():
    label, guess = (wide(each) for each in made_up())
    panel = shrunk(Panel("a", np.zeros((*SIZE, 3), np.uint8), label, guess), 16)
    assert panel.truth.dtype == np.int16 and set(np.unique(panel.truth)) <= {WIDE_VOID, *OF_FEW}
    padded = of_one_size([panel, Panel("b", np.zeros((*SIZE, 3), np.uint8), label, guess)])[0]
    assert (padded.truth[16:] == WIDE_VOID).all()
    np.testing.assert_array_equal(errors(padded) == VOID, padded.truth == WIDE_VOID)


SHOWN = {"s0": 299, "s1": 256, "s2": 255, "s3": 299, "s4": 256, "s5": 255}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Folder with 16-bit masks, and a net trained on them for a few steps in `out/`."""
    folder = tmp_path_factory.mktemp("many")
    for place in ("images", "masks"):
        (folder / "set" / place).mkdir(parents=True)
    for i, (name, c) in enumerate(SHOWN.items()):
        grey = {299: 30, 256: 120, 255: 220}[c]
        Image.fromarray(np.full((48, 56, 3), grey, np.uint8)).save(
            folder / f"set/images/{name}.png"
        )
        label = np.full((48, 56), c, np.uint16)
        label[:4], label[:4, :i] = 0, 65535
        Image.fromarray(label).save(folder / f"set/masks/{name}.png")
    names = ", ".join(f"c{i}" for i in range(CLASSES))
    (folder / "set/classes.yaml").write_text(f"classes: [{names}]\n")
    (folder / "set/train.txt").write_text("s0\ns1\ns2\n")
    (folder / "set/val.txt").write_text("s3\ns4\ns5\n")
    asked = ["data=folder", "data.root=set", "backbone.widths=[4,4,6,6,8,8]", "regime.steps=3"]
    asked += ["regime.batch_size=3", "workers=0", "pictures=2", "regime.lr=0.1"]
    done = command(folder, "train", *asked, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    return folder


def command(folder: Path, name: str, *arguments: str):
    return fcnexp(name, *arguments, folder=folder, cache=folder / "cache")


def test_a_run_scores_all_pixels_but_void(run):
    result = json.loads((run / "out/result.json").read_text())
    assert len(result["class_iou"]) == CLASSES
    counted = np.load(run / "out/images.npz")["whole/counts"].sum()
    assert counted == 3 * 48 * 56 - 4 * (3 + 4 + 5)
    panel = run / "out/pictures/panels/s5"
    truth = np.array(Image.open(panel / "truth.png"))
    assert truth[20, 20].tolist() == [*voc_palette(CLASSES)[255].tolist(), 255]


def test_prediction_is_a_16_bit_png_of_class_numbers(run):
    last = "checkpoint=out/checkpoints/last.ckpt"
    asked = ["input=set/images", "save_scores=true", "overlay=true", "beside=true"]
    done = command(run, "predict", last, *asked, "output=labels")
    assert done.returncode == 0, done.stderr
    assert "pixel values: 0 c0, 1 c1" in done.stdout and "..., 299 c299" in done.stdout
    found = set()
    for name in SHOWN:
        with Image.open(run / f"labels/{name}.png") as image:
            assert image.mode.startswith("I;16")
            label = np.array(image)
        np.testing.assert_array_equal(label, np.load(run / f"labels/{name}.npy").argmax(0))
        found |= set(np.unique(label).tolist())
    assert max(found) > VOID
    done = command(run, "export", last, "output=many.onnx", "labels=true")
    assert done.returncode == 0 and "labels: int16 (N, H, W)" in done.stdout, done.stderr
    done = command(run, "predict", "onnx=many.onnx", "input=set/images", "output=onnx")
    assert done.returncode == 0, done.stderr
    for name in SHOWN:
        pair = [np.array(Image.open(run / place / f"{name}.png")) for place in ("labels", "onnx")]
        assert (pair[0] == pair[1]).mean() > 0.999


def test_report_and_check_show_many_classes(run):
    done = command(run, "report", "out", "output=report")
    assert done.returncode == 0, done.stderr
    page = (run / "report/report.html").read_text()
    assert "c299" in page and "#" + bytes(voc_palette(CLASSES)[299].tolist()).hex() in page
    asked = ["data=folder", "data.root=set", "workers=0", "hydra.run.dir=checked"]
    done = command(run, "prepare", "check", *asked)
    assert done.returncode == 0, done.stderr
    found = json.loads((run / "checked/check.json").read_text())["train"]
    assert found["values"] == {"0": 3 * 4 * 56 - 4 * 3, "void": 4 * 3} | {
        str(c): 44 * 56 for c in (255, 256, 299)
    }
    values = {each["value"]: each["means"] for each in found["mask_values"]}
    assert values == {"0": "c0", "255": "c255", "256": "c256", "299": "c299", "65535": "void"}
    assert found["classes"]["c256"]["images"] == 1 and "NO PIXEL of c1, c2" in done.stdout
