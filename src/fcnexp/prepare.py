"""Prepare or check a data set: `python -m fcnexp.prepare [check|bands|hha] data=voc`."""

import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fcnexp.errors import ConfigError, DataError
from fcnexp.system.atomic import atomic_file, write_atomically
from fcnexp.system.places import short
from fcnexp.system.spawned import in_processes

if TYPE_CHECKING:
    from fcnexp.data.checking import Report
    from fcnexp.data.sample import Samples
    from fcnexp.data.splits import DataSet
    from fcnexp.scoring.tasks import Task

TASKS = ("get", "check", "bands", "hha")


def prepare(cfg: DictConfig, folder: Path) -> None:
    """Run the task. Raises UserError."""
    from fcnexp.config.checks import check_targets
    from fcnexp.config.schema import PrepareConfig
    from fcnexp.config.values import to_plain, typed

    cfg = typed(cfg, PrepareConfig)
    check_targets(to_plain(cfg))
    if cfg.task not in TASKS:
        raise ConfigError(f"task={cfg.task}: choose one of {', '.join(TASKS)}")
    if cfg.workers < 0:
        raise ConfigError(f"workers={cfg.workers}: must be 0 or more")
    {"get": get, "check": check, "bands": describe_bands, "hha": encode_folder}[cfg.task](
        cfg, folder
    )


def get(cfg: DictConfig, folder: Path) -> None:
    """Download, convert or generate a data set into its root."""
    kind = str(cfg.data._target_).rpartition(".")[2]
    if kind in ("Voc", "VocSbd", "CamVid", "PascalContext", "SiftFlow"):
        get_archives(cfg, kind)
    elif kind == "Nyud":
        get_nyud(cfg)
    else:
        from fcnexp import build

        made = build.part(cfg, "data")
        for split in (made.train, made.val):  # generated ones are written on first use
            print(f"{len(split(usual(made)))} images")
        if kind == "Folder":
            print("nothing to prepare; `python -m fcnexp.prepare check ...` reads every file")


def get_archives(cfg: DictConfig, kind: str) -> None:
    """Download and unpack CamVid, SIFT Flow, or VOC 2012 or 2010 with what `kind` adds to it."""
    from fcnexp.data import archives
    from fcnexp.data.archives import CONTEXT, SBD, VOC2010, VOC2012, prepare_archive

    alone = {"CamVid": archives.CAMVID, "SiftFlow": archives.SIFTFLOW, "PascalContext": VOC2010}
    first = alone.get(kind, VOC2012)
    wanted = [(first, cfg.data.root, cfg.archive, cfg.digest)]
    for second, archive, name in (("VocSbd", SBD, "sbd"), ("PascalContext", CONTEXT, "context")):
        if kind == second:
            copy, digest = cfg[f"{name}_archive"], cfg[f"{name}_digest"]
            wanted.append((archive, cfg.data[f"{name}_root"], copy, digest))
    for archive, root, given, digest in wanted:
        place = Path(root).expanduser()
        count = prepare_archive(archive, place, given and Path(given), digest, print)
        print(f"{place}: {count} files written")


def get_nyud(cfg: DictConfig) -> None:
    """Convert the official NYUDv2 file to the papers' layout; resume a stopped conversion."""
    from fcnexp.data.nyud_facts import FIRST_ID, split_of
    from fcnexp.data.nyud_official import OfficialFile, is_converted

    if cfg.mat is None:
        raise ConfigError("mat: required for data=nyud, but not given; add mat=FILE")
    root = Path(cfg.data.root).expanduser()
    with OfficialFile(Path(cfg.mat)) as official:
        count = official.count
    todo = [place for place in range(count) if not is_converted(place, root)]
    print(f"{root}: {count - len(todo)} of {count} images exist; converting {len(todo)}")
    one = partial(_convert, Path(cfg.mat), root)
    for _ in tracked(in_processes(one, todo, cfg.workers), len(todo), "converting"):
        pass
    for split, places in split_of().items():
        ids = [str(FIRST_ID + place) for place in places if place < count]
        write_atomically(root / f"{split}.txt", "".join(f"{name}\n" for name in ids))
    print(f"{root}: done; lists train, val and test are written")


def _convert(mat: Path, root: Path, place: int) -> None:
    from fcnexp.data.nyud_official import convert

    convert(mat, place, root)


def encode_folder(cfg: DictConfig, folder: Path) -> None:
    """Write an HHA image for each depth image in a folder."""
    if cfg.depth is None or cfg.intrinsics is None:
        missing = "depth" if cfg.depth is None else "intrinsics"
        raise ConfigError(f"{missing}: required for hha, but not given; add {missing}=...")
    if len(cfg.intrinsics) != 4:
        raise ConfigError(f"intrinsics={list(cfg.intrinsics)}: must be four numbers, [fx,fy,cx,cy]")
    source = Path(cfg.depth).expanduser()
    paths = sorted(source.glob("*.png"))
    if not paths:
        raise ConfigError(f"depth={source}: contains no PNG files; set it to a folder of PNGs")
    output = Path(cfg.output).expanduser() if cfg.output else source.parent / "hha"
    output.mkdir(parents=True, exist_ok=True)
    raw = Path(cfg.raw_depth).expanduser() if cfg.raw_depth else None
    fx, fy, cx, cy = cfg.intrinsics
    camera = [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]
    todo = [path for path in paths if not (output / path.name).is_file()]
    one = partial(encode_one, raw=raw, output=output, camera=camera, unit=cfg.unit)
    for _ in tracked(in_processes(one, todo, cfg.workers), len(todo), "encoding"):
        pass
    print(f"{output}: {len(todo)} written, {len(paths) - len(todo)} existed")


def encode_one(
    path: Path, *, raw: Path | None, output: Path, camera: list[list[float]], unit: float
) -> None:
    """Write one HHA image. Raises DataError naming the depth image."""
    import numpy as np
    from PIL import Image

    from fcnexp.data.files import read_depth
    from fcnexp.data.hha import encode_hha

    depth = read_depth(path)[0].numpy()
    seen = depth if raw is None else read_depth(raw / path.name)[0].numpy()
    try:
        hha = encode_hha(depth * unit, seen == 0, np.array(camera))
    except (DataError, ValueError) as error:
        raise DataError(f"{path}: {error}") from None
    with atomic_file(output / path.name) as part:
        # The default level, 6, takes three times as long, longer than the encoding, to save 5 %.
        Image.fromarray(hha).save(part, compress_level=4)


def check(cfg: DictConfig, folder: Path) -> None:
    """Read everything, print tables and findings, write check.json and a contact sheet.

    Raises DataError at the end if anything is broken, so that the exit code is 1.
    """
    from fcnexp import build
    from fcnexp.data import fit
    from fcnexp.reporting import tables
    from fcnexp.reporting.check_sheet import draw_check_sheet
    from fcnexp.reporting.findings import findings, mask_values
    from fcnexp.scoring.tasks import tasks_of

    made: DataSet = build.part(cfg, "data")
    fields = usual(made) if cfg.fields is None else tuple(cfg.fields)
    fit.refuse_missing_field(made, fields)
    tasks = tasks_of(made.class_names, fit.outputs_of(made))
    reports, splits, broken = read_splits(made, fields, tasks, cfg.workers)
    first = reports[tasks[0]]
    for task, of_task in reports.items():
        tables.print_check(of_task, task.classes, task.name if task.is_further else None)
    lines, found = findings(reports)
    facts = facts_of(reports)
    for report in first:
        if (classes := getattr(splits[report.split], "classes", None)) is not None:
            values = facts[report.split]["mask_values"] = mask_values(report, classes)
            tables.print_mask_values(report.split, values)
    for line in lines:
        print(line)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(
        folder / "check.json", json.dumps(facts | found | {"broken": broken}, indent=2) + "\n"
    )
    for task, of_task in reports.items():
        draw_check_sheet(folder / f"{task.key('sheet')}.png", splits, of_task, cfg.pictures, task)
    print(f"record {short(folder)}")
    if broken:
        shown = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if broken[5:] else "")
        raise DataError(f"{len(broken)} broken: {shown}")


def usual(made: "DataSet") -> tuple[str, ...]:
    """Fields to read if none are chosen: a folder of one's own holds colour or bands."""
    return tuple(getattr(made, "usual", made.provides))


def describe_bands(cfg: DictConfig, folder: Path) -> None:
    """Write bands.yaml: what the bands of custom data are, with mean and deviation of each."""
    from fcnexp import build
    from fcnexp.data.band_statistics import describe
    from fcnexp.data.own import Folder
    from fcnexp.reporting.tables import print_bands
    from fcnexp.system.bands_file import write_bands_file

    made = build.part(cfg, "data")
    if not isinstance(made, Folder):
        raise ConfigError("bands: describes images of your own: add data=folder data.root=FOLDER")
    pairs = made.undescribed()
    found, moments = describe(
        pairs,
        axes=cfg.axes,
        nodata=cfg.nodata,
        rgb=cfg.rgb,
        in_order=lambda one, todo: tracked(
            in_processes(one, todo, cfg.workers), len(todo), "bands"
        ),
    )
    write_bands_file(made.bands_file, found)
    print_bands(found, moments)
    print(f"{short(made.bands_file)}: of {found.images} training images; train with modality=bands")


def facts_of(reports: "dict[Task, list[Report]]") -> dict[str, Any]:
    """Plain values of each split; those of further tasks are in its `tasks`."""
    first, *others = reports
    facts: dict[str, Any] = {report.split: report.facts(first.classes) for report in reports[first]}
    for task in others:
        for report in reports[task]:
            found = facts[report.split].setdefault("tasks", {})
            found[task.name] = report.facts(task.classes)
    return facts


def read_splits(
    made: "DataSet", fields: tuple[str, ...], tasks: "tuple[Task, ...]", workers: int
) -> tuple["dict[Task, list[Report]]", dict[str, "Samples"], list[str]]:
    """Reports by task, samples of each split that can be opened, and what is broken in both."""
    from fcnexp.data.checking import Report, check_all, repeated

    reports: dict[Task, list[Report]] = {task: [] for task in tasks}
    splits: dict[str, Samples] = {}
    broken: list[str] = []
    for split in ("train", "val"):
        report, *further = [Report(split, len(task.classes)) for task in tasks]
        try:
            samples = getattr(made, split)(fields)
        except DataError as error:
            broken.append(f"{split}: {error}")
            continue
        splits[split] = samples
        checked = check_all(samples, workers, tasks)
        for one in tracked(checked, len(samples), f"reading {split}"):
            report.add(one)
            for task, of_task in zip(tasks[1:], further, strict=True):
                of_task.add(one, task.name)
        report.troubles += [f"{name}: listed twice" for name in repeated(samples.ids)]
        broken += report.troubles
        for task, of_task in zip(tasks, (report, *further), strict=True):
            reports[task].append(of_task)
    return reports, splits, broken


def tracked(steps: Iterable[Any], count: int, what: str) -> Iterable[Any]:
    """The same steps, with a progress bar on a terminal."""
    from rich.progress import track

    return track(steps, what, total=count, disable=not sys.stderr.isatty())


def main() -> None:
    """Entry point; the task may be a word of its own, as in `check` and `hha`."""
    from fcnexp.cli import entry, messages
    from fcnexp.config.values import did_you_mean

    sys.argv[1:] = [f"task={word}" if word in TASKS else word for word in sys.argv[1:]]
    if (first := sys.argv[1:2]) and "=" not in first[0] and not first[0].startswith("-"):
        near = did_you_mean(first[0], TASKS)
        messages.fail(
            ConfigError(
                f"{first[0]}: no such task{near}; choose check, bands or hha, or none; say which "
                "data by data=..., for a folder of your own data=folder data.root=FOLDER"
            ),
            "prepare",
        )
    entry.run(prepare, "prepare")


if __name__ == "__main__":
    main()
