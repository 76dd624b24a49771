"""Label images: `python -m fcnexp.predict checkpoint=... input=photos`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fcnexp.errors import ConfigError, DataError, UserError
from fcnexp.predicting.images import (
    SHARES,
    field_folders,
    find_images,
    left_out,
    picture_of_fields,
    read_fields,
    read_size_of,
    refuse_mixing,
    refuse_overwriting,
)
from fcnexp.system.atomic import atomic_file, digest, make_folder, write_atomically
from fcnexp.system.places import short

if TYPE_CHECKING:
    import numpy as np

    from fcnexp.predicting.windows import Labeller

FEW = 10  # images up to which each gets a line of output; classes named of many
MANY = 100  # classes


def predict(cfg: DictConfig, folder: Path) -> None:
    """Write a palette PNG per image, and the optional results. Raises UserError."""
    from fcnexp.config.checks import without_fast_paths
    from fcnexp.config.schema import PredictConfig
    from fcnexp.config.values import typed
    from fcnexp.predicting.memory import bytes_of_text, return_freed

    cfg = typed(cfg, PredictConfig)
    memory = None if cfg.memory is None else bytes_of_text(cfg.memory)
    if memory is not None:
        return_freed()
    output = Path(cfg.output).expanduser() if cfg.output else folder
    images = find_images(cfg.input, bands=True)
    endings = {".png": True, "_overlay.png": cfg.overlay, "_beside.png": cfg.beside}
    endings[".npy"] = cfg.save_scores
    written = [ending for ending, wanted in endings.items() if wanted]
    refuse_mixing(cfg.input, output)
    with without_fast_paths(cfg):
        _label_all(cfg, images, output, memory, written)


def _label_all(
    cfg: DictConfig, images: list[Path], output: Path, memory: int | None, endings: list[str]
) -> None:
    """Label the images one by one. Raises DataError that names those that failed."""
    from rich.progress import track

    labeller = labeller_of(cfg.checkpoint, cfg.onnx, cfg.device)
    bands = labeller.bands is not None
    if any(path.suffix.lower() == ".npy" for path in images) and not bands:
        images = find_images(cfg.input)
    if rest := left_out(cfg.input, bands=bands):
        print(rest)
    refuse_overwriting(images, output, endings)
    folders = field_folders(dict(cfg.fields), labeller.fields)
    make_folder(output)
    for task in labeller.tasks[1:]:
        refuse_overwriting(images, task.folder(output), endings)
        make_folder(task.folder(output))
    facts: dict[str, Any] = {}
    failed: list[UserError] = []
    bar = sys.stderr.isatty() and len(images) > 1
    for path in track(images, "labelling", disable=not bar):
        try:
            facts[path.stem] = label_one(labeller, path, folders, output, cfg, memory)
        except UserError as error:  # the other images are still labelled
            failed.append(_naming(path, error))
            continue
        if not bar and len(images) <= FEW:
            print(f"{path.name}: {largest_fractions(facts[path.stem]['shares'])}")
            for name, found in facts[path.stem].get("tasks", {}).items():
                print(f"  {name}: {largest_fractions(found['shares'])}")
    if facts:
        kind = "checkpoint" if cfg.onnx is None else "onnx"
        known = {kind: str(cfg[kind]), "sha256": digest(Path(cfg[kind]).expanduser())}
        first, *others = labeller.tasks
        classes: dict[str, Any] = {"classes": list(first.classes)}
        if others:
            classes["tasks"] = {task.name: list(task.classes) for task in others}
        write_atomically(
            output / SHARES, json.dumps(known | classes | {"pictures": facts}, indent=1)
        )
    for task in labeller.tasks:
        values = [f"{i} {name}" for i, name in enumerate(task.classes)]
        names = ", ".join(values if len(values) <= MANY else [*values[:FEW], "...", values[-1]])
        print(f"{len(facts)} labelled in {short(task.folder(output))}; pixel values: {names}")
    if failed:
        raise DataError("; ".join(str(error) for error in failed))


def _naming(path: Path, error: UserError) -> UserError:
    """Return the error, with the image's name if its message has none."""
    return error if str(path) in str(error) else type(error)(f"{path}: {error}")


def labeller_of(checkpoint: str | None, onnx: str | None, device: str) -> "Labeller":
    """Return the net of a checkpoint or an exported file as a labeller. Raises UserError."""
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"device={device}: allowed are cpu and cuda")
    if checkpoint is None and onnx is None:
        raise ConfigError(
            "checkpoint: required, but not given; add checkpoint=RUN/checkpoints/last.ckpt, or "
            "onnx=FILE of python -m fcnexp.export"
        )
    if checkpoint is not None and onnx is not None:
        raise ConfigError(
            f"checkpoint={checkpoint} and onnx={onnx}: two nets were given; remove one of them"
        )
    if str(checkpoint).endswith(".onnx"):
        raise ConfigError(f"checkpoint={checkpoint} is an exported file; try onnx={checkpoint}")
    if onnx is not None:
        from fcnexp.predicting.onnx_net import OnnxNet

        return OnnxNet(onnx, device)
    import torch  # slow to import, and not needed for --help

    assert checkpoint is not None
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no GPU on this machine; try device=cpu")
    from fcnexp import restore
    from fcnexp.nn.weights.checkpoints import read_checkpoint
    from fcnexp.predicting.windows import NetLabeller

    stored = read_checkpoint(checkpoint, mapped=True)
    net, recipe = restore.net_of(stored, checkpoint)
    return NetLabeller(net.to(device), recipe, tuple(stored["fcnexp"]["class_names"]))


def label_one(
    labeller: "Labeller",
    path: Path,
    folders: dict[str, Path],
    output: Path,
    cfg: DictConfig,
    memory: int | None,
) -> dict[str, Any]:
    """Write NAME.png and the optional results; returns size, and pixels and fractions by class.

    The results of a further task are in a folder of its name; the scores of all tasks in one file.
    Raises DataError if a file is not an image, ConfigError if memory is too small.
    """
    from fcnexp.predicting.windows import label_maps, refuse_too_little

    refuse_too_little(labeller, path, read_size_of(path, labeller.bands), memory)
    fields = read_fields(path, folders, labeller.bands)
    rgb = picture_of_fields(fields, labeller.bands)
    taken = {name: fields[name] for name in labeller.fields}
    shape = (len(labeller.class_names), *rgb.shape[:2])
    places = [task.place for task in labeller.tasks]
    if cfg.save_scores:
        with atomic_file(output / f"{path.stem}.npy") as part:
            labels = label_maps(labeller, taken, memory, places, scores=(part, shape))
    else:
        labels = label_maps(labeller, taken, memory, places)
    first, *others = [
        write_label(rgb, label, task.folder(output) / path.stem, task.classes, cfg)
        for task, label in zip(labeller.tasks, labels, strict=True)
    ]
    found = {"file": str(path), "width": rgb.shape[1], "height": rgb.shape[0], **first}
    if others:
        names = [task.name for task in labeller.tasks[1:]]
        found["tasks"] = dict(zip(names, others, strict=True))
    return found


def write_label(
    rgb: "np.ndarray", label: "np.ndarray", place: Path, names: tuple[str, ...], cfg: DictConfig
) -> dict[str, Any]:
    """Write PLACE.png and the optional pictures; returns pixels and fractions by class.

    rgb: uint8 (H, W, 3). label: uint8 (H, W). names: of the classes.
    """
    import numpy as np

    from fcnexp.data.palette import save_indexed
    from fcnexp.reporting.overlays import full_overlay, side_by_side

    with atomic_file(place.with_name(f"{place.name}.png")) as part:
        save_indexed(part, label)
    counts = np.bincount(label.reshape(-1), minlength=len(names))
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    fractions = {i: float(counts[i] / label.size) for i in order}
    if cfg.overlay:
        with atomic_file(place.with_name(f"{place.name}_overlay.png")) as part:
            full_overlay(rgb, label).save(part)
    if cfg.beside:
        page = side_by_side(rgb, label, fractions, names)
        with atomic_file(place.with_name(f"{place.name}_beside.png")) as part:
            page.save(part)
    return {
        "pixels": {names[i]: int(counts[i]) for i in order},
        "shares": {names[i]: value for i, value in fractions.items()},
    }


def largest_fractions(fractions: dict[str, float]) -> str:
    """Format the first four fractions as percentages, for a line of output."""
    first = [f"{name} {100 * value:.1f} %" for name, value in list(fractions.items())[:4]]
    return ", ".join([*first, *(["..."] if len(fractions) > len(first) else [])])


def main() -> None:
    """Entry point."""
    from fcnexp.cli import entry

    entry.run(predict, "predict")


if __name__ == "__main__":
    main()
