"""Write made-up run folders, as training and sweeps would."""

import csv
import json
from pathlib import Path

import numpy as np
import yaml

CONFIG = {
    "model": {"_target_": "fcnexp.nn.fcn.SkipNet", "skips": [16, 8], "fusion": "sum"},
    "head": {"_target_": "fcnexp.nn.heads.FcHead", "dropout": 0.5},
    "regime": {"lr": 0.1, "batch_size": 8, "loss": {"keep": 1}},
    "workers": 0,
    "paper": None,
    "seed": 0,
}
CHOICES = {"model": "fcn8s", "head": "fc", "regime": "quick", "experiment": None}
SCORES = {"pixel_acc": 0.9, "mean_acc": 0.8, "miou": 0.5, "fw_iou": 0.7}


def write_run(folder: Path, *, typed=(), choices=CHOICES, seconds=10.0, **changes) -> Path:
    """Write a run folder. changes: to config and scores; two underscores stand for a dot."""
    config, scores = json.loads(json.dumps(CONFIG)), dict(SCORES)
    for name, value in changes.items():
        *nodes, last = name.split("__")
        node = scores if name in scores else config
        for each in nodes:
            node = node[each]
        node[last] = value
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = {
        "status": "done",
        "scores": scores,
        "class_iou": {"background": 0.9, "disc": 0.4, "ring": None, "bar": 0.2},
        "train_seconds": seconds,
        "choices": choices,
        "typed": list(typed),
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def write_job(folder: Path, state: str, *, overrides=(), message="", **error) -> Path:
    """Write job.json as a sweep does. error: type and traceback of a failure."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {"digest": "0" * 8, "state": state, "overrides": list(overrides), "host": "node7"}
    record |= {"attempts": 1, "seconds": 12.0, "error": None}
    if state == "failed":
        record["error"] = {"message": message, **error}
    (folder / "job.json").write_text(json.dumps(record))
    return folder


def write_lines(path: Path, *lines) -> None:
    """Write a CSV file."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)


def write_metrics(folder: Path, mious, name="metrics.csv", first=0) -> None:
    """Write metrics.csv as Lightning does: a loss and a mean IU every ten steps."""
    lines = [("step", "train/loss", "val/miou")]
    for number, miou in enumerate(mious, start=1):
        step = first + 10 * number
        lines += [(step, 2 / number, ""), (step, "", miou)]
    write_lines(folder / name, *lines)


def write_confusion(folder: Path, names, counts) -> None:
    """Write confusion.csv of a run."""
    lines = [[name, *line] for name, line in zip(names, counts, strict=True)]
    write_lines(folder / "confusion.csv", ["truth \\ prediction", *names], *lines)


def write_scored(folder: Path, per_image, *, worst=2, **changes) -> Path:
    """Write a run with images.npz, whose mean IU is that of these images, and pictures of some."""
    from fcnexp.reporting.pictures import write_panel  # imports torch
    from fcnexp.scoring.per_image import write_per_image
    from fcnexp.scoring.scores import class_iu, mean_iu

    margins = per_image.margins().sum(0)
    run = write_run(folder, miou=float(mean_iu(margins)), **changes)
    write_per_image(run, per_image, per_image.matrix())
    record = json.loads((run / "result.json").read_text())
    record["class_iou"] = dict(zip(per_image.classes, class_iu(margins).tolist(), strict=True))
    (run / "result.json").write_text(json.dumps(record))
    for name in per_image.names[:worst]:
        label = np.zeros((24, 32), np.uint8)
        label[:, 16:] = 1
        rgb = np.full((24, 32, 3), 200, np.uint8)
        write_panel(run / "pictures/worst/panels" / name, rgb, label, np.roll(label, 4, 1))
    return run


def write_pictures(folder: Path, names, *, predicted=1, truth=2, size=(24, 32)) -> None:
    """Write panels of a run; one class each fills the right half of labels and prediction."""
    from fcnexp.reporting.pictures import write_panel  # imports torch, not needed by other helpers

    for name in names:
        rgb = np.full((*size, 3), 200, np.uint8)
        labels = [np.zeros(size, np.uint8) for _ in range(2)]
        for label, index in zip(labels, (truth, predicted), strict=True):
            label[:, size[1] // 2 :] = index
        write_panel(folder / "pictures/panels" / name, rgb, *labels)
