"""Scoring in 1 to 4 processes gives identical counts, for lists of any length."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import score_in_processes
import torch
from commands import TINY, fcnexp
from fake_data import LABEL
from PIL import Image

from fcnexp import VOID
from fcnexp.data.palette import save_indexed
from fcnexp.scoring.per_image import band_name, read_per_image

LENGTHS = range(10)
CLASSES = 5
SIZES = [(24, 31), (1, 1), (17, 40), (33, 20), (24, 31), (9, 50), (48, 16), (21, 22), (30, 30)]
pytestmark = pytest.mark.slow


def own_images(root: Path) -> list[np.ndarray]:
    """Write nine images of different sizes, one of them void, and lists of the first N."""
    rng = np.random.default_rng(9)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    labels = []
    for number, size in enumerate(SIZES):
        label = np.kron(rng.integers(0, CLASSES, (50, 50)), np.ones((4, 4)))[: size[0], : size[1]]
        label = label.astype(np.uint8)
        label[rng.random(size) < (1.0 if number == 5 else 0.1)] = VOID
        rgb = rng.integers(0, 256, (*size, 3), np.uint8)
        rgb[..., 0] = np.where(label == VOID, 0, 50 * label)
        Image.fromarray(rgb).save(root / f"images/{number}.png")
        save_indexed(root / f"masks/{number}.png", label)
        labels.append(label)
    names = [str(number) for number in range(len(SIZES))]
    for length in LENGTHS:
        (root / f"first_{length}.txt").write_text("".join(f"{n}\n" for n in names[:length]))
    (root / "train.txt").write_text("t\n")
    Image.new("RGB", (40, 40)).save(root / "images/t.png")
    save_indexed(root / "masks/t.png", np.resize(LABEL % CLASSES, (40, 40)))
    (root / "classes.yaml").write_text(f"classes: {[f'c{i}' for i in range(CLASSES)]}\n")
    return labels


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> tuple[Path, list[np.ndarray]]:
    """Folder with a checkpoint that predicts several classes, and the scores of all lists."""
    folder = tmp_path_factory.mktemp("exact")
    labels = own_images(folder / "own")
    data = ["data=folder", f"data.root={folder}/own", "data.val_split=first_9"]
    run = [word for word in TINY if not word.startswith("data.")]
    run += [*data, "regime.steps=1", "pictures=0", "logger=csv", "hydra.run.dir=run"]
    done = fcnexp("train", *run, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    stored = torch.load(folder / "run/checkpoints/last.ckpt")
    for name, weight in stored["state_dict"].items():
        if "score" in name and weight.dim() == 4:
            torch.nn.init.normal_(weight)
    torch.save(stored, folder / "last.ckpt")
    for devices in range(1, 5):
        run_program(devices, folder)
    return folder, labels


def run_program(devices: int, folder: Path) -> None:
    """Score all lists in one program, so that the processes start once."""
    program = [sys.executable, score_in_processes.__file__, str(devices), str(folder)]
    lengths = ",".join(map(str, LENGTHS))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*program, lengths],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr


def counts(folder: Path, devices: int, length: int) -> str:
    return (folder / f"{devices}_{length}/confusion.csv").read_text()


def returned(folder: Path, devices: int, length: int) -> list:
    """Values that the processes returned."""
    return [
        json.loads((folder / f"{devices}_{length}_{rank}.json").read_text())
        for rank in range(devices)
    ]


def test_every_number_of_processes_counts_every_image_once(place, tell):
    folder, labels = place
    equal = 0
    for length in LENGTHS[1:]:
        known = np.concatenate([label[label != VOID] for label in labels[:length]])
        for devices in range(1, 5):
            result = json.loads((folder / f"{devices}_{length}/result.json").read_text())
            assert result["images"] == length and result["pixels"] == known.size
            matrix = np.loadtxt(
                folder / f"{devices}_{length}/confusion.csv",
                int,
                delimiter=",",
                skiprows=1,
                usecols=range(1, CLASSES + 1),
            )
            assert matrix.sum(1).tolist() == np.bincount(known, minlength=CLASSES).tolist()
            assert length < 3 or (matrix.sum(0) > 0).sum() > 1  # it predicts several classes
            assert counts(folder, devices, length) == counts(folder, 1, length)
            bands = [(folder / f"{n}_{length}/trimap.json").read_text() for n in (devices, 1)]
            assert bands[0] == bands[1] and json.loads(bands[0])["bands"][0]["pixels"] <= known.size
            assert set(returned(folder, devices, length)) == {result["scores"]["miou"]}
            equal += 1
    tell(
        f"distributed: {equal} of {4 * len(LENGTHS[1:])} scorings (1 to 4 processes x lists of 1 "
        f"to {LENGTHS[-1]}) have identical integers, bands included; of these with an idle "
        f"process: {sum(d > n for d in range(1, 5) for n in LENGTHS[1:])}"
    )


def test_every_number_of_processes_keeps_the_same_file_of_images(place, tell):
    folder, labels = place
    equal = 0
    for length in LENGTHS[1:]:
        first = (folder / f"1_{length}/images.npz").read_bytes()
        record = read_per_image(folder / f"1_{length}")
        assert record.names == tuple(str(number) for number in range(length))
        assert record.bands() == list(score_in_processes.WIDTHS)
        bands = json.loads((folder / f"1_{length}/trimap.json").read_text())["bands"]
        sums = [int(record.matrix(band_name(width)).sum()) for width in record.bands()]
        assert sums == [band["pixels"] for band in bands]
        truth = [np.bincount(m[m != VOID], minlength=CLASSES) for m in labels[:length]]
        assert np.array_equal(record.margins()[:, 1], truth)
        for devices in range(1, 5):
            assert (folder / f"{devices}_{length}/images.npz").read_bytes() == first
            equal += 1
    tell(f"distributed: {equal} of {4 * len(LENGTHS[1:])} files images.npz have identical bytes")


def test_empty_list_is_refused_by_every_process(place, tell):
    folder, _ = place
    said = [message for devices in range(1, 5) for message in returned(folder, devices, 0)]
    assert len(said) == 1 + 2 + 3 + 4
    assert set(said) == {f"{folder}/own/first_0.txt: the list is empty; list one image id per line"}
    tell(f"distributed: an empty list is refused, by {len(said)} of {len(said)} processes")


def test_command_in_three_processes_scores_two_images(place):
    folder, _ = place
    given = ["checkpoint=last.ckpt", "data=folder", "data.root=own", "data.val_split=first_2"]
    given += ["trainer=cpu", "trainer.devices=3", "workers=1", "pictures=1", "hydra.run.dir=cli"]
    command = [sys.executable, "-m", "fcnexp.evaluate", *given]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("record ") == 1  # only rank 0 prints
    assert json.loads((folder / "cli/result.json").read_text())["images"] == 2
    assert (folder / "cli/confusion.csv").read_text() == counts(folder, 1, 2)


def test_empty_list_gives_one_message_with_several_devices(place):
    folder, _ = place
    given = ["checkpoint=last.ckpt", "data=folder", "data.root=own", "data.val_split=first_0"]
    given += ["trainer=cpu", "trainer.devices=3", "workers=0", "hydra.run.dir=none"]
    done = fcnexp("evaluate", *given, folder=folder, cache=folder)  # it ends before starting others
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("the list is empty") == 1
