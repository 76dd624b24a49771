"""Broken, odd or wrong inputs, judged by one rule: `rule.py`."""

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import bad_checkpoints
import pytest
from bad_caffemodels import BAD_CONTENT, OTHER_CONTENT
from bad_commands import ARCHIVES, CONFIGS, OTHERS, PICTURE, bad_runs, lay_out, tar, whole_run
from bad_sets import READERS, SETS, TREES, of_file
from caffe_files import V1_FILE, V2_FILE
from commands import TINY, Done, fcnexp
from fake_data import voc_tree
from rule import DONE, REFUSED, Case, Counted, judged, together
from test_predict import SMALL, write_checkpoint

from fcnexp.errors import DataError
from fcnexp.nn.weights.caffe import read_caffemodel

LEAST = 120  # cases that the project promises


def readers(folder: Path) -> Iterator[Case]:
    """Yield every bad file, read alone by its reader."""
    for kind, (name, read, cases) in READERS.items():
        for number, (case, (content, expected)) in enumerate(cases.items()):
            root = folder / f"{kind} {number}"
            root.mkdir()
            wanted = REFUSED if isinstance(expected, str) else expected
            act = partial(of_file, root, name, read, content)
            yield Case(f"{kind}: {case}", act, wanted, [str(root / name)])


def sets(folder: Path) -> Iterator[Case]:
    """Yield every data set with one bad file, read by `prepare check`."""
    voc_tree(folder / "voc")
    for number, (case, (damage, expected)) in enumerate(TREES.items()):
        kind, root = case.split()[0], folder / f"set {number}"
        damage(SETS[kind][0](root))
        options = {
            "VOC": ["data=voc", f"data.root={root}"],
            "SBD": ["data=voc_sbd", f"data.sbd_root={root}", f"data.root={folder / 'voc'}"],
            "NYUD": ["data=nyud", f"data.root={root}"],
            "own": ["data=folder", f"data.root={root}"],
        }[kind]
        if kind == "SBD":
            options.append("data.val_split=val")
        typed = ["check", *options, "workers=0", f"hydra.run.dir={folder}/checked{number}"]
        wanted = REFUSED if isinstance(expected, str) else DONE
        named = [str(root), "data.shared"]  # the key that lets two lists overlap
        yield Case(
            case, partial(fcnexp, "prepare", *typed, folder=folder, cache=folder), wanted, named
        )


def checkpoints(folder: Path) -> Iterator[Case]:
    """Yield every bad checkpoint, read by `evaluate`."""
    good = bad_checkpoints.good((folder / "net.ckpt").read_bytes(), folder / "trap")
    for number, (name, make) in enumerate(bad_checkpoints.REFUSED.items()):
        file = folder / f"{number}.ckpt"
        file.write_bytes(make(good))
        act = partial(fcnexp, "evaluate", f"checkpoint={file}", folder=folder, cache=folder)
        yield Case(f"checkpoint: {name}", act, REFUSED, [str(file)])
    typed = ["input=a.png", "output=labelled"]
    for number, (name, make) in enumerate(bad_checkpoints.ACCEPTED.items()):
        file = folder / f"good{number}.ckpt"
        file.write_bytes(make(good))
        act = partial(fcnexp, "predict", f"checkpoint={file}", *typed, folder=folder, cache=folder)
        yield Case(f"checkpoint: {name}", act, DONE, [])
    (folder / "a folder.ckpt").mkdir()
    act = partial(fcnexp, "evaluate", "checkpoint='a folder.ckpt'", folder=folder, cache=folder)
    yield Case("checkpoint: a folder", act, REFUSED, ["a folder.ckpt"])


def caffemodels(folder: Path) -> Iterator[Case]:
    """Yield every bad caffemodel, read by its reader."""

    def layers(file: Path) -> list[str]:
        return list(read_caffemodel(file))

    for number, (name, (content, _)) in enumerate((BAD_CONTENT | OTHER_CONTENT).items()):
        file = folder / f"{number}.caffemodel"
        file.write_bytes(content)
        yield Case(f"caffemodel: {name}", partial(layers, file), REFUSED, [str(file)])
    for name, content in (("V1", V1_FILE), ("V2", V2_FILE)):
        file = folder / f"{name}.caffemodel"
        file.write_bytes(content)
        yield Case(f"caffemodel: {name}", partial(layers, file), ["c"], [])
    for file in (folder, folder / "gone.caffemodel"):
        yield Case(f"caffemodel: {file.name}", partial(layers, file), REFUSED, [str(file)])


def commands(folder: Path) -> Iterator[Case]:
    """Yield every bad command."""
    for number, (name, (typed, key)) in enumerate(CONFIGS.items()):
        place = [] if any("run.dir" in word for word in typed) else [f"hydra.run.dir=run{number}"]
        small = [] if "data=voc" in typed else TINY["backbone=alexnet" in typed :]
        act = partial(
            fcnexp, "train", *small, *place, *typed, folder=folder, cache=folder / "cache"
        )
        yield Case(f"config: {name}", act, REFUSED, [key])
    for name, (command, typed, key) in OTHERS.items():
        act = partial(fcnexp, command, *typed, folder=folder, cache=folder / "cache")
        yield Case(f"{command}: {name}", act, REFUSED, [key])


def archives(folder: Path) -> Iterator[Case]:
    """Yield every bad archive, with its correct digest, read by `prepare`."""

    def get(file: Path, root: str, *more: str) -> Done:
        digest = hashlib.md5(file.read_bytes()).hexdigest()
        options = [f"archive={file}", f"data.root={root}", *(more or [f"digest={digest}"])]
        return fcnexp("prepare", "data=voc", *options, folder=folder, cache=folder)

    for number, (name, members) in enumerate(ARCHIVES.items()):
        file = tar(folder / f"{number}.tar", members)
        yield Case(f"archive: {name}", partial(get, file, f"out{number}"), REFUSED, [str(file)])
    (folder / "linked/VOCdevkit/VOC2012").mkdir(parents=True)
    (folder / "linked/VOCdevkit/VOC2012/JPEGImages").symlink_to(folder)
    good = tar(folder / "good.tar", [PICTURE])
    cut = tar(folder / "cut.tar", [PICTURE], cut=515)
    (folder / "text.tar").write_text("hello")
    yield Case("archive: good", partial(get, good, "good"), DONE, [])
    yield Case("archive: through a link", partial(get, good, "linked"), REFUSED, [str(good)])
    yield Case("archive: other digest", partial(get, good, "o", "digest=00"), REFUSED, [str(good)])
    yield Case(
        "archive: published digest", partial(get, good, "o", "workers=0"), REFUSED, [str(good)]
    )
    yield Case("archive: cut", partial(get, cut, "o"), REFUSED, [str(cut)])
    yield Case("archive: text", partial(get, folder / "text.tar", "o"), REFUSED, ["text.tar"])


def records(folder: Path) -> Iterator[Case]:
    """Yield every damaged record, read by `report`."""

    def report(run: Path) -> Done:
        done = fcnexp("report", str(run), folder=folder, cache=folder)
        if found := re.search(r"not (?:drawn|finished): .*", done.stdout):
            raise DataError(found[0])  # the report omits this record
        return done

    for name, file in bad_runs(folder).items():
        yield Case(f"record: {name}", partial(report, file.parent), REFUSED, [str(file)])
    yield Case("record: whole", partial(report, whole_run(folder / "whole")), DONE, [])


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> bytes:
    return write_checkpoint(tmp_path_factory.mktemp("net") / "net.ckpt", *SMALL).read_bytes()


def count(area: Callable[[Path], Iterator[Case]], folder: Path, net: bytes) -> Counted:
    """Judge all cases of an area, in a separate folder with the files that they name."""
    folder = folder / area.__name__
    folder.mkdir()
    (folder / "net.ckpt").write_bytes(net)
    lay_out(folder)
    counted = judged(area(folder))
    assert not (folder / "trap").exists(), "code of a checkpoint ran"
    return counted


def test_files_are_read_correctly_or_refused_by_name(tmp_path, net, tell):
    areas = (readers, sets, checkpoints, caffemodels, archives, records)
    counted = {area.__name__: count(area, tmp_path, net) for area in areas}
    for name, found in counted.items():
        tell(f"broken inputs, {name}: {found.line()}")
    everything = together(counted.values())
    tell(f"broken inputs, all files: {everything.line()}")
    assert everything.cases >= LEAST
    assert not everything.troubles(), everything.troubles()


@pytest.mark.slow  # half the time is composing configs
def test_commands_run_correctly_or_are_refused_by_name(tmp_path, net, monkeypatch, tell):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    counted = count(commands, tmp_path, net)
    tell(f"broken inputs, commands: {counted.line()}")
    assert not counted.troubles(), counted.troubles()
