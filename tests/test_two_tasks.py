"""Several labels per image, from the commands: one net, a score and files for each task."""

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from commands import fcnexp
from PIL import Image
from wandb_file import runs_below

from fcnexp import VOID, build, restore
from fcnexp.config.compose import compose_run
from fcnexp.data.collate import collate
from fcnexp.data.files import read_rgb
from fcnexp.data.generated.furniture import CLASS_NAMES, SURFACE_OF, SURFACES
from fcnexp.data.sample import Sample
from fcnexp.data.splits import Rooms
from fcnexp.data.transforms import Augment
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.scoring.per_image import read_per_image
from fcnexp.task.module import SegmentationTask
from fcnexp.train import class_weights

ROOMS = [
    *("data=rooms_surfaces", "data.num_train=6", "data.num_val=3", "data.size=[48,64]"),
    *("backbone.widths=[4,4,6,6,8,8]", "regime.steps=6", "regime.score_every=3"),
    *("regime.batch_size=2", "workers=0", "pictures=2", "trainer=cpu"),
]
LAST = "checkpoint=out/checkpoints/last.ckpt"
MIXED = "checkpoint=mixed.ckpt"  # of the same net, with random scores
SCORES = ("pixel_acc", "mean_acc", "miou", "fw_iou")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a short training in out/, and what it printed."""
    folder = tmp_path_factory.mktemp("tasks")
    done = run(folder, "train", *ROOMS, "logger=wandb", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    stored = read_checkpoint(str(folder / "out/checkpoints/last.ckpt"))
    net, _ = restore.net_of(stored, "last.ckpt")
    for layer in net.score_layers():  # a few steps teach it one class alone
        torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(3))
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save(stored | {"state_dict": state}, folder / "mixed.ckpt")
    return folder


def run(folder: Path, command: str, *arguments: str):
    return fcnexp(command, *arguments, folder=folder, cache=folder / "cache")


def rooms(folder: Path) -> Rooms:
    return Rooms(str(folder / "cache"), 6, 3, (48, 64), 7, surfaces=True)


def confusion(path: Path) -> np.ndarray:
    with path.open() as file:
        return np.array([list(map(int, line[1:])) for line in list(csv.reader(file))[1:]])


def recounted(folder: Path, predicted: Path) -> list[np.ndarray]:
    """Confusion matrix of each task, from label maps that `predict` wrote."""
    samples = rooms(folder).val(())
    matrices = [np.zeros((n, n), np.int64) for n in (len(CLASS_NAMES), len(SURFACES))]
    for index, name in enumerate(samples.ids):
        places = (predicted, predicted / "geo")
        labels = (samples.read_label(index), samples.read_further(index, "geo"))
        for matrix, place, label in zip(matrices, places, labels, strict=True):
            guess = np.array(Image.open(place / f"img_{name}.png"))
            known = label.numpy() != VOID
            np.add.at(matrix, (label.numpy()[known], guess[known]), 1)
    return matrices


def test_each_task_is_scored_by_its_own_matrix(folder):
    """The matrices are those of the label maps that `predict` writes."""
    done = run(folder, "evaluate", MIXED, "hydra.run.dir=mixed", "workers=0", "pictures=0")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "mixed/result.json").read_text())
    given = [MIXED, f"input={rooms(folder)._write()}/data/images/img_test_*.png", "output=maps"]
    done = run(folder, "predict", *given)
    assert done.returncode == 0, done.stderr
    parts = result, result["tasks"]["geo"]
    files = folder / "mixed", folder / "mixed/geo"
    for matrix, part, file in zip(recounted(folder, folder / "maps"), parts, files, strict=True):
        assert np.array_equal(confusion(file / "confusion.csv"), matrix) and matrix.sum() > 1000
        assert (matrix.sum(0) > 0).sum() > 2  # several classes are predicted
        assert np.array_equal(read_per_image(file).matrix(), matrix)
        assert part["scores"]["pixel_acc"] == pytest.approx(np.trace(matrix) / matrix.sum())
        assert part["conventions"]["release"]["miou"] == part["scores"]["miou"]
    assert list(result["class_iou"]) == list(CLASS_NAMES) and result["tasks"].keys() == {"geo"}
    assert list(parts[1]["class_iou"]) == list(SURFACES)


def test_scores_of_both_tasks_are_printed_and_logged(folder):
    printed = [line.strip() for line in (folder / "stdout.txt").read_text().splitlines()]
    titles = [line for line in printed if line.startswith(("Scores (%)", "Classes (%)"))]
    assert titles == ["Classes (%)", "Scores (%)", "Classes (%), geo", "Scores (%), geo"]
    with (folder / "out/metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    result = json.loads((folder / "out/result.json").read_text())
    for key in SCORES:
        for name, part in ((key, result), (f"geo_{key}", result["tasks"]["geo"])):
            last = [float(line[f"val/{name}"]) for line in lines if line[f"val/{name}"]][-1]
            assert last == pytest.approx(part["scores"][key], abs=1e-6)
    for line in lines:
        if line["train/loss"]:
            parts = float(line["train/sem_loss"]) + float(line["train/geo_loss"])
            assert float(line["train/loss"]) == pytest.approx(parts, rel=1e-5)


def test_wandb_has_scores_tables_and_masks_of_both(folder):
    (logged,) = runs_below(folder / "out")
    result = json.loads((folder / "out/result.json").read_text())["tasks"]["geo"]
    assert logged.summary["val/geo_miou"] == pytest.approx(result["scores"]["miou"], abs=1e-6)
    assert logged.summary["iou/geo_wall"] == result["class_iou"]["wall"]
    table = logged.table("val/geo_classes")
    assert [row[0] for row in table["data"]] == list(SURFACES)
    shown = [line["val/predictions"] for line in logged.history if "val/predictions" in line][-1]
    for masks in shown["all_masks"]:
        truth, geo = (
            np.asarray(Image.open(logged.media / masks[name]["path"]))
            for name in ("truth", "geo_truth")
        )
        assert all((geo[truth == i] == kind).all() for i, kind in enumerate(SURFACE_OF))
        assert masks.keys() >= {"prediction", "wrong", "geo_prediction", "geo_wrong"}


def test_loss_is_the_sum_of_both(folder):
    cfg = compose_run([*ROOMS, f"data.root={folder}/cache", "logger=csv"])
    data = build.build_data(cfg)
    data.setup("fit")
    task = build.build_task(cfg, data.data).eval()
    for layer in task.net.score_layers():
        torch.nn.init.normal_(layer.weight)
    batch = collate([data.val[0], data.val[1]])
    logged = {}
    task.log = lambda name, value, **_: logged.setdefault(name, float(value))
    loss = task.training_step(batch, 0).detach()
    scores = task(batch.fields, batch.sizes).detach()
    split = len(CLASS_NAMES)
    sem = F.cross_entropy(scores[:, :split], batch.label.long(), ignore_index=VOID)
    geo = F.cross_entropy(scores[:, split:], batch.further["geo"].long(), ignore_index=VOID)
    assert float(loss) == pytest.approx(float(sem + geo), rel=1e-6)
    assert logged["train/geo_loss"] == pytest.approx(float(geo), rel=1e-6)
    assert logged["train/sem_loss"] == pytest.approx(float(sem), rel=1e-6) and sem > geo > 0


def test_class_weights_are_those_of_each_task(folder):
    given = [*ROOMS, f"data.root={folder}/cache", "logger=csv", "regime.loss.balance=inverse"]
    cfg = compose_run(given)
    data = build.build_data(cfg)
    data.setup("fit")
    weights = class_weights(cfg, data)
    task = build.build_task(cfg, data.data, weights)
    assert task.loss.weights.tolist() == pytest.approx(weights[:10])
    assert task.further_losses[0].weights.tolist() == pytest.approx(weights[10:])
    labels = torch.cat([data.train.read_further(i, "geo").flatten() for i in range(6)])
    counts = labels[labels != VOID].bincount(minlength=4).double()
    assert weights[10:] == pytest.approx((counts.sum() / (4 * counts)).tolist())


def test_a_stopped_training_resumes_to_the_same_bits(folder, tmp_path, monkeypatch):
    typed = [*ROOMS, "logger=csv", "hydra.run.dir=out", f"data.root={folder}/cache"]
    typed += ["regime.loss.keep=0.5", "augment=jitter"]
    places = [tmp_path / "whole", tmp_path / "parts"]
    step = SegmentationTask.training_step

    def stop(self, batch, batch_idx):
        if batch_idx == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, batch_idx)

    for place, action in zip(places, (step, stop), strict=True):
        place.mkdir()
        monkeypatch.setattr(SegmentationTask, "training_step", action)
        done = run(place, "train", *typed)
        assert done.returncode == (143 if action is stop else 0), done.stderr
    monkeypatch.setattr(SegmentationTask, "training_step", step)
    done = run(places[1], "train", *typed)
    assert done.returncode == 0 and "continues after step 4" in done.stdout, done.stderr
    first, second = (
        torch.load(place / "out/checkpoints/last.ckpt")["state_dict"] for place in places
    )
    assert all(torch.equal(first[name], second[name]) for name in first | second)
    matrices = [confusion(place / "out/geo/confusion.csv") for place in places]
    assert np.array_equal(*matrices)


def test_pictures_of_both_tasks_are_drawn(folder):
    for place, names in ((folder / "out", CLASS_NAMES), (folder / "out/geo", SURFACES)):
        panels = sorted((place / "pictures/panels").iterdir())
        assert len(panels) == 2 and (place / "pictures/worst/sheet.png").is_file()
        truth = np.array(Image.open(panels[0] / "truth.png"))
        assert set(np.unique(truth)) <= {*range(len(names)), VOID} and truth.max() > 0
        assert (place / "pictures/sheet.png").is_file()
    first, second = (
        np.array(Image.open(place / "pictures/panels/test_0000/truth.png"))
        for place in (folder / "out", folder / "out/geo")
    )
    assert all((second[first == i] == kind).all() for i, kind in enumerate(SURFACE_OF))


def test_evaluate_and_rescoring_give_the_trainings_scores(folder):
    done = run(folder, "evaluate", LAST, "hydra.run.dir=scored", "workers=0", "trimap=[2]")
    assert done.returncode == 0, done.stderr
    trained, scored = (
        json.loads((folder / place / "result.json").read_text()) for place in ("out", "scored")
    )
    assert scored["scores"] == trained["scores"]
    assert scored["tasks"]["geo"]["scores"] == trained["tasks"]["geo"]["scores"]
    assert (folder / "scored/geo/objects.csv").read_text().startswith("class,size")
    done = run(folder, "evaluate", "run=scored")
    assert done.returncode == 0 and "task geo:" in done.stdout, done.stderr
    wanted = f"{100 * scored['tasks']['geo']['scores']['pixel_acc']:.1f}"
    assert wanted in done.stdout.partition("Scores (%), geo")[2]


def test_data_with_other_tasks_is_refused(folder):
    done = run(folder, "evaluate", LAST, "data=rooms", "hydra.run.dir=other")
    assert done.returncode == 1
    assert "trained on 14 classes" in done.stderr and "the data set has 10" in done.stderr


@pytest.fixture(scope="module")
def exported(folder) -> str:
    """What an export to net.onnx printed."""
    done = run(folder, "export", MIXED, "output=net.onnx", "labels=true")
    assert done.returncode == 0, done.stderr
    return done.stdout


def scored_photo(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """A photo, uint8 (3, H, W), and the net's scores of it."""
    rgb = read_rgb(photo(folder))
    task = restore.task_of(read_checkpoint(str(folder / "mixed.ckpt")), "mixed.ckpt")
    return rgb, task.label_image({"rgb": rgb})[1]


def photo(folder: Path) -> Path:
    return sorted((rooms(folder)._write() / "data/images").glob("img_test_*.png"))[0]


def assert_outputs(found: list[np.ndarray], scores: torch.Tensor) -> None:
    for maps, theirs in zip(found[:2], (scores[:10], scores[10:]), strict=True):
        np.testing.assert_allclose(maps[0], theirs, atol=1e-4 * float(scores.abs().max()))
    for maps, labels in zip(found[:2], found[2:], strict=True):
        assert np.array_equal(labels[0], maps[0].argmax(0))


def test_exported_net_has_outputs_for_each_task(folder, exported):
    import onnxruntime

    outputs = "scores_sem: float32 (N, 10, H, W); scores_geo: float32 (N, 4, H, W); "
    assert outputs + "labels_sem: uint8 (N, H, W); labels_geo: uint8 (N, H, W)" in exported
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"))
    names = [one.name for one in session.get_outputs()]
    assert names == ["scores_sem", "scores_geo", "labels_sem", "labels_geo"]
    rgb, scores = scored_photo(folder)
    assert_outputs(session.run(None, {"rgb": rgb[None].numpy()}), scores)


@pytest.mark.slow
def test_exported_program_has_outputs_for_each_task(folder):
    done = run(folder, "export", MIXED, "format=torch_export", "output=net.pt2", "labels=true")
    assert done.returncode == 0, done.stderr
    program = torch.export.load(folder / "net.pt2").module(check_guards=False)
    rgb, scores = scored_photo(folder)
    assert_outputs([maps.numpy() for maps in program(rgb[None])], scores)


@pytest.mark.parametrize("net", [MIXED, "onnx=net.onnx"])
def test_predict_writes_a_map_of_each_task(folder, exported, net, tmp_path):
    wanted = ["beside=true", "overlay=true", "save_scores=true"]
    done = run(folder, "predict", net, f"input={photo(folder)}", f"output={tmp_path}", *wanted)
    assert done.returncode == 0, done.stderr
    assert f"in {tmp_path}/geo; pixel values: 0 floor, 1 wall, 2 ceiling, 3 object" in done.stdout
    name, (_, scores) = photo(folder).stem, scored_photo(folder)
    written = np.load(tmp_path / f"{name}.npy")
    np.testing.assert_allclose(written, scores, atol=1e-4 * float(scores.abs().max()))
    shares = json.loads((tmp_path / "shares.json").read_text())
    assert shares["classes"] == list(CLASS_NAMES) and shares["tasks"] == {"geo": list(SURFACES)}
    found = shares["pictures"][name]
    parts = (found, tmp_path, written[:10]), (found["tasks"]["geo"], tmp_path / "geo", written[10:])
    for part, place, own in parts:
        label = np.array(Image.open(place / f"{name}.png"))
        assert np.array_equal(label, own.argmax(0)) and sum(part["pixels"].values()) == label.size
        for ending in ("overlay", "beside"):
            assert (place / f"{name}_{ending}.png").is_file()


def test_report_compares_rows_by_the_scores_of_both(folder, tmp_path):
    done = run(folder, "report", "out", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "out/result.json").read_text())
    geo = result["tasks"]["geo"]["scores"]
    (row,) = csv.DictReader((tmp_path / "report.csv").open())
    assert float(row["miou"]) == result["scores"]["miou"]
    assert all(float(row[f"geo_{key}"]) == geo[key] for key in SCORES)
    cells = (f"{100 * result['scores']['miou']:.1f}", f"{100 * geo['pixel_acc']:.1f}")
    text = (tmp_path / "report.md").read_text()
    header, _, line = [part for part in text.splitlines() if part.startswith("|")][:3]
    names = [cell.strip() for cell in header.split("|")]
    shown = dict(zip(names, (cell.strip() for cell in line.split("|")), strict=True))
    assert (shown["mean IU"], shown["geo pixel accuracy"]) == cells
    assert "geo\n" in text.partition("\n## ")[2]
    page, other = ((tmp_path / f"report{end}.html").read_text() for end in ("", "_geo"))
    assert "geo pixel accuracy" in page and 'href="report_geo.html"' in page
    assert 'href="report.html"' in other and "geo mean IU (%), validation set" in page
    assert ">ceiling<" in other and ">crate<" in page and ">crate<" not in other


def test_prepare_check_counts_the_labels_of_both(folder):
    given = ["check", *ROOMS[:4], "workers=0", "fields=[rgb]", "hydra.run.dir=checked"]
    done = run(folder, "prepare", *given)
    assert done.returncode == 0, done.stderr
    facts = json.loads((folder / "checked/check.json").read_text())["train"]
    pixels = {kind: 0 for kind in range(len(SURFACES))}
    for name, kind in zip(CLASS_NAMES, SURFACE_OF, strict=True):
        pixels[kind] += facts["classes"][name]["pixels"]
    geo = facts["tasks"]["geo"]["classes"]
    assert [geo[name]["pixels"] for name in SURFACES] == list(pixels.values())
    assert (folder / "checked/geo_sheet.png").is_file() and (folder / "checked/sheet.png").is_file()


@pytest.mark.parametrize(
    "changes",
    [{"resize": (24, 36)}, {"scale": (0.5, 2.0)}, {"jitter": 9}, {"crop": (20, 16)}, {"mirror": 1}],
    ids=lambda changes: next(iter(changes)),
)
def test_augmentation_moves_all_labels_alike(changes):
    off = {"resize": None, "mirror": 0, "scale": (1, 1), "crop": None, "drop_smaller": False}
    augment = Augment(**off | {"colour": 0, "jitter": 0} | changes)
    label = torch.arange(30 * 40).reshape(30, 40).remainder(250).to(torch.uint8)
    twice = (label // 2).masked_fill(label == 7, VOID)
    sample = Sample("a", {"rgb": torch.zeros(3, 30, 40, dtype=torch.uint8)}, label, {"b": twice})
    for seed in range(5):
        found = augment(sample, seed)
        outside = found.label == VOID
        expected = (found.label // 2).masked_fill((found.label == 7) | outside, VOID)
        assert torch.equal(found.further["b"], expected)
        assert found.label.shape == found.fields["rgb"].shape[1:]


def test_batch_pads_each_label_with_void_and_hides_all_of_an_unlabelled_sample():
    samples = []
    for side in (2, 3):
        rgb = torch.zeros(3, side, 3, dtype=torch.uint8)
        label = torch.full((side, 3), side, dtype=torch.uint8)
        samples.append(Sample(str(side), {"rgb": rgb}, label, {"geo": label + 10}))
    batch = collate(samples)
    assert batch.further["geo"][0].tolist() == [[12] * 3] * 2 + [[VOID] * 3]
    assert (batch.further["geo"][1] == 13).all()
    samples[1].label = None  # as `OwnShare` does, whose sample must count in no task
    assert (collate(samples).further["geo"][1] == VOID).all()
