"""Score a checkpoint: `python -m fcnexp.evaluate checkpoint=RUN/checkpoints/last.ckpt`.

Or rescore a finished run, without its data: by the conventions of other tools, with intervals, and
by size of the objects: `python -m fcnexp.evaluate run=RUN`.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from fcnexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fcnexp.data.sample import Samples
    from fcnexp.scoring.per_image import PerImage
    from fcnexp.task.module import SegmentationTask


def evaluate(cfg: DictConfig, folder: Path) -> float | None:
    """Score a checkpoint on a validation set, or rescore a run; returns the mean IU.

    Raises UserError on a user's mistake.
    """
    from fcnexp.config.checks import (
        check_devices,
        check_targets,
        check_trainer,
        without_fast_paths,
    )
    from fcnexp.config.schema import EvaluateConfig
    from fcnexp.config.values import to_plain, typed
    from fcnexp.run import ranks, run_folder
    from fcnexp.system import this_process

    check_devices(cfg)
    cfg = typed(cfg, EvaluateConfig)
    check_sizes(cfg.object_sizes)
    if cfg.run is not None:
        return rescore(cfg)
    plain = to_plain(cfg)
    widths = check_widths(cfg.trimap)
    for key, least in (("workers", 0), ("pictures", 0), ("score_batch", 1)):
        if cfg[key] < least:
            raise ConfigError(f"{key}={cfg[key]}: must be {least} or more")
    check_trainer(cfg.trainer)
    with without_fast_paths(cfg):
        pass  # raises ConfigError on an unknown fast path
    ranks.attend()
    check_targets(plain)
    with run_folder.held(folder):
        if this_process.rank() == 0:
            run_folder.claim(folder)
        return score(cfg, folder, widths)


def score(cfg: DictConfig, folder: Path, widths: tuple[int, ...]) -> float | None:
    """Score the checkpoint and write the record; returns the mean IU. widths: of the trimap."""
    # Slow imports, so not at the top: --help and mistakes do not need them.
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from fcnexp import build, restore
    from fcnexp.config.checks import without_fast_paths
    from fcnexp.data import fit
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.nn.weights.checkpoints import read_checkpoint
    from fcnexp.reporting import pictures, result
    from fcnexp.run import trainers
    from fcnexp.run.determinism import deterministic
    from fcnexp.system import this_process
    from fcnexp.task.trimap import TrimapScores

    stored = read_checkpoint(cfg.checkpoint)
    task = restore.task_of(stored, cfg.checkpoint)
    chosen = build.part(cfg, "data")
    fit.refuse_other_classes(stored["fcnexp"], chosen, fit.outputs_of(chosen), cfg.checkpoint)
    fit.refuse_missing_field(chosen, task.recipe.fields)
    fields = tuple(task.recipe.fields)
    data = SegmentationData.for_scoring(chosen, fields, cfg.workers, score_batch=cfg.score_batch)
    data.setup("validate")
    trainer = trainers.build_scorer(cfg, stored["fcnexp"]["precision"])
    trainers.speed_up(cfg, task.net)
    if this_process.rank() == 0:
        result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
    if widths:
        task.trimap = TrimapScores(len(task.tasks[0].classes), widths)
    shown = places_of(cfg.draw, data.val) or pictures.spread_evenly(len(data.val), cfg.pictures)
    task.keep, task.worst = frozenset(data.val.ids[i] for i in shown), cfg.pictures
    try:
        with without_fast_paths(cfg), deterministic(cfg.trainer.deterministic):
            trainer.validate(task, data, verbose=False)
    except SIGTERMException:
        print("stopped by SIGTERM; no scores were written")
        raise SystemExit(143) from None  # Lightning's own exit code is 0
    if this_process.rank():
        return result.plain_scores(task.matrix, task.tasks[0].classes)["scores"]["miou"]
    facts = {
        "checkpoint": str(cfg.checkpoint),
        "precision": str(trainer.precision),
        "images": len(data.val),
        "masked": task.masking["test"],
        "command": shlex.join(["python", "-m", "fcnexp.evaluate", *sys.argv[1:]]),
    }
    return write_record(cfg, folder, task, data.val, shown, facts)


def write_record(
    cfg: DictConfig,
    folder: Path,
    task: "SegmentationTask",
    samples: "Samples",
    shown: Sequence[int],
    facts: dict[str, object],
) -> float | None:
    """Draw, write and print what was scored; returns the mean IU. shown: images to draw."""
    from fcnexp.reporting import last_words, object_sizes, pictures, result, tables, trimap
    from fcnexp.system.places import short

    task.eval()
    sizes = tuple(cfg.object_sizes)
    draw = pictures.draw_scored
    draw(task.prediction_of, samples, shown, cfg.pictures, folder, task.counts)
    if task.bands is not None:
        bands = trimap.write_trimap(folder, tuple(cfg.trimap), task.bands, task.matrix)
    for counts in task.counts:
        assert counts.per_image is not None
        place = counts.task.folder(folder)
        place.mkdir(exist_ok=True)  # a further task's, if no pictures are drawn
        object_sizes.write_objects(place, counts.per_image, sizes)
    # Written last: result.json marks the record as complete.
    record = result.write_record(folder, task.counts, facts)
    tables.print_results(record)
    if task.bands is not None:
        tables.print_comparison(trimap.trimap_lines(bands), "Near boundaries (%)")
        print(f"plot      {short(folder / 'trimap.png')}")
    for counts in task.counts:
        assert counts.per_image is not None
        place = counts.task.folder(folder)
        if counts.task.is_further:
            print(f"task {counts.task.name}:")
        print_images(counts.per_image, sizes, cfg.pictures)
        print(f"plot      {short(place / 'objects.png')}")
        print(f"worst     {short(place / pictures.PICTURES / pictures.WORST)}")
    print("\n".join(last_words.places(folder)))
    return record["scores"]["miou"]


def print_images(per_image: "PerImage", sizes: tuple[float, ...], worst: int) -> None:
    """Print how well objects of each size are found, and the images with the lowest mean IU."""
    from fcnexp.reporting import image_facts, object_sizes, tables
    from fcnexp.reporting.records import percent
    from fcnexp.scoring.objects import by_class_and_size, over_classes

    each = by_class_and_size(per_image, sizes)
    if each is not None:
        total = over_classes(each, per_image.classes)
        tables.print_comparison(object_sizes.object_lines(total, sizes), "Objects by size")
        print(object_sizes.RULE)
    lines = [
        [image.name, percent(image.iu)] for image in image_facts.worst_images(per_image, worst)
    ]
    if lines:
        title = "Worst images (mean IU over the classes of the image)"
        tables.print_comparison([["image", "mean IU"], *lines], title)


def places_of(names: Sequence[str] | None, samples: "Samples") -> list[int]:
    """Return the places of the images named by `draw`. Raises ConfigError if one is missing."""
    places = {name: i for i, name in enumerate(samples.ids)}
    for name in names or ():
        if name not in places:
            raise ConfigError(
                f"draw: no image {name} in this validation set; its images are "
                f"{', '.join(samples.ids[:3])} ..."
            )
    return [places[name] for name in names or ()]


def rescore(cfg: DictConfig) -> float:
    """Print the scores of a run's counts; returns the mean IU. Raises UserError."""
    from fcnexp.reporting.records import further_tasks

    if not OmegaConf.is_missing(cfg, "checkpoint"):
        raise ConfigError("run and checkpoint: give one of them; run=FOLDER only reads its matrix")
    if cfg.trimap is not None:
        raise ConfigError(
            "trimap: a confusion matrix holds no positions; give checkpoint=FILE instead of run"
        )
    run = Path(cfg.run).expanduser()
    first = rescore_task(run, cfg)
    for name in further_tasks(run):
        print(f"task {name}:")
        rescore_task(run / name, cfg, name)
    return first


def rescore_task(folder: Path, cfg: DictConfig, task: str | None = None) -> float:
    """Print the scores of one task's counts; returns the mean IU. Raises DataError."""
    import torch

    from fcnexp.reporting import result, tables
    from fcnexp.reporting.records import CONFUSION, read_confusion
    from fcnexp.scoring.per_image import IMAGES, read_per_image

    confusion = read_confusion([folder])
    if confusion is None:
        raise DataError(
            f"run={folder}: no readable {CONFUSION} there; give a folder that train or evaluate "
            "wrote, such as outputs/train/DATE"
        )
    per_image = read_per_image(folder)
    matrix = torch.tensor(confusion.counts)
    scores = result.plain_scores(matrix, tuple(confusion.names), per_image)
    tables.print_result(scores, task=task)
    if per_image is None:
        print(
            f"no {IMAGES} in {folder}, which an older version wrote: no intervals, means over "
            "images or objects by size; to get them, score it again with checkpoint=FILE"
        )
    else:
        print_images(per_image, tuple(cfg.object_sizes), cfg.pictures)
    return scores["scores"]["miou"]


def check_widths(widths: list[int] | None) -> tuple[int, ...]:
    """Return the widths of the trimap, in pixels; () for none. Raises ConfigError."""
    given = tuple(widths or ())
    if widths is not None and (not given or given[0] < 1 or list(given) != sorted(set(given))):
        raise ConfigError(
            f"trimap={list(given)}: must be increasing widths in pixels, 1 or more, such as "
            "[1,2,3,5,10,20,40]; null for none"
        )
    return given


def check_sizes(sizes: Sequence[float]) -> None:
    """Raise ConfigError if these are no limits of bins."""
    if not sizes or sizes[0] <= 0 or list(sizes) != sorted(set(sizes)):
        raise ConfigError(
            f"object_sizes={list(sizes)}: must be increasing sizes in pixels, above 0, such as "
            "[8,16,32,64,128]"
        )


def main() -> None:
    """Entry point: the checkpoint named on the command line provides `data`'s defaults."""
    from fcnexp.cli import entry

    entry.offer_data_of_checkpoint(sys.argv[1:])
    entry.run(evaluate, "evaluate")


if __name__ == "__main__":
    main()
