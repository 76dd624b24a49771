"""Certificates name every cause of a difference, and `verify` repeats what a run computed."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from commands import fcnexp
from fake_data import own_tree

from fcnexp.errors import DataError
from fcnexp.run import causes, certificate
from fcnexp.system import digests

RUN = [
    *("data=folder", "data.root=own", "logger=csv", "trainer=cpu", "augment=none", "workers=0"),
    *("backbone.widths=[4,4,6,6,8,8]", "regime.steps=2", "regime.score_every=1", "pictures=0"),
    *("init=checkpoint", "init.path=start.ckpt", "hydra.run.dir=out"),
]
OTHER_NET = "def scratch(net):\n    return net\n"


def train(folder: Path, *arguments: str):
    return fcnexp("train", *arguments, folder=folder, cache=folder / "cache")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a training from weights, on six own images."""
    folder = tmp_path_factory.mktemp("certified")
    own_tree(folder / "own", ("a", "b", "c", "d", "e", "f"))
    first = [a for a in RUN if not a.startswith("init")]
    assert train(folder, *first, "hydra.run.dir=start").returncode == 0
    shutil.copyfile(folder / "start/checkpoints/last.ckpt", folder / "start.ckpt")
    done = train(folder, *RUN)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    """The same in a folder of its own, with all times."""
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy"


def verify(folder: Path, *arguments: str):
    return fcnexp("verify", "out", *arguments, folder=folder, cache=folder / "cache")


def change_image(folder: Path) -> None:
    """Change one byte but neither size nor modification time."""
    file = folder / "own/images/b.jpg"
    found, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def change_weights(folder: Path) -> None:
    with (folder / "start.ckpt").open("ab") as file:
        file.write(b"\0")


def edit_config(folder: Path, key: str, value: object) -> None:
    file = folder / "out/config.yaml"
    config = yaml.safe_load(file.read_text())
    *nodes, last = key.split(".")
    node = config
    for each in nodes:
        node = node[each]
    node[last] = value
    file.write_text(yaml.safe_dump(config))


def edit_certificate(folder: Path, part: str, key: str, value: object) -> None:
    file = folder / "out/certificate.json"
    content = json.loads(file.read_text())
    content[part][key] = value
    file.write_text(json.dumps(content))


PLANTED = {
    "data        images/b.jpg: other content": change_image,
    "data        images/b.jpg: gone": lambda folder: (folder / "own/images/b.jpg").unlink(),
    "data        train.txt (5 -> 4 names)": lambda folder: (folder / "own/train.txt").write_text(
        "a\nb\nc\nd"
    ),
    "weights     init.path: other content": change_weights,
    "weights     init.path: gone": lambda folder: (folder / "start.ckpt").unlink(),
    "seed        seed: 0 -> 7": lambda folder: edit_config(folder, "seed", 7),
    "settings    regime.lr: 0.002 -> 0.1": lambda folder: edit_config(folder, "regime.lr", 0.1),
    "packages    numpy 0.1 -> ": lambda folder: edit_certificate(
        folder, "packages", "numpy", "0.1"
    ),
    "packages    python: 3.0 -> ": lambda folder: edit_certificate(
        folder, "machine", "python", "3.0"
    ),
    "hardware    processor: abacus -> ": lambda folder: edit_certificate(
        folder, "machine", "processor", "abacus"
    ),
    "code        fcnexp: 0.0.1 ": lambda folder: (
        edit_certificate(folder, "code", "files", "0" * 64),
        edit_certificate(folder, "code", "version", "0.0.1"),
    ),
    "outcome     checkpoints/last.ckpt: other content": lambda folder: (
        folder / "out/checkpoints/last.ckpt"
    ).write_bytes(b"other"),
    "outcome     confusion.csv: gone": lambda folder: (folder / "out/confusion.csv").unlink(),
}


def test_nothing_has_changed_since_the_run(copied):
    done = verify(copied, "again=nothing")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "settings, code, packages, hardware, data and weights are those of the run\n"
    )


@pytest.mark.parametrize("expected", PLANTED)
def test_each_planted_change_is_named_as_the_only_cause(copied, expected):
    PLANTED[expected](copied)
    done = verify(copied, "again=nothing")
    assert done.returncode == 1 and done.stdout.startswith(expected), done
    assert done.stdout.count("\n") == 1, done.stdout


def test_own_parts_are_compared_by_content(tmp_path, monkeypatch):
    (tmp_path / "part_of_mine.py").write_text(OTHER_NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FCNEXP_CACHE", str(tmp_path))
    config = {"init": {"_target_": "part_of_mine.scratch"}, "data": [{"_target_": "torch.nn.ReLU"}]}
    before = certificate.code_now(config)
    assert list(before["own"]) == ["part_of_mine"]
    (tmp_path / "part_of_mine.py").write_text(OTHER_NET + "# changed\n")
    after = certificate.code_now(config)
    assert causes._code(before, after) == [("code", "part_of_mine: other content")]


def test_scores_and_training_are_repeated(copied):
    """Each compares what another process computed."""
    done = verify(copied)
    assert done.returncode == 0 and "equal: the same counts of all " in done.stdout, done
    done = verify(copied, "again=whole")
    assert done.returncode == 0, done
    assert "equal: the same loss at all " in done.stdout and "the same counts" in done.stdout


@pytest.mark.slow
def test_other_losses_and_other_counts_are_told(copied):
    edit_config(copied, "regime.lr", 0.1)  # the images are equal, so another seed changes nothing
    done = verify(copied, "again=2")
    assert done.returncode == 1 and "settings    regime.lr: 0.002 -> 0.1" in done.stdout
    assert "different: the losses part at step 2, " in done.stdout, done
    assert "the first is of step 2" in verify(copied, "again=1").stderr
    matrix = copied / "out/confusion.csv"
    lines = [line.split(",") for line in matrix.read_text().splitlines()]
    lines[1][1], lines[1][2] = "1", str(int(lines[1][1]) + int(lines[1][2]) - 1)
    matrix.write_text("\n".join(map(",".join, lines)) + "\n")
    done = verify(copied)
    assert done.returncode == 1 and "pixels counted elsewhere" in done.stdout, done


def test_diff_of_two_runs_names_six_causes(copied):
    shutil.copytree(copied / "out", copied / "b")
    content = json.loads((copied / "b/certificate.json").read_text())
    content["config"]["regime"]["lr"] = 0.5
    content["code"] |= {"files": "0", "version": "9"}
    content["packages"]["numpy"] = "99"
    content["machine"]["device"] = "Abacus 2000"
    content["data"]["lists"]["root/train.txt"] = [4, "0"]
    content["outcome"]["convention"] = "mean over images"
    (copied / "b/certificate.json").write_text(json.dumps(content))
    done = fcnexp("report", "diff", "out", "b", folder=copied, cache=copied)
    kinds = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert kinds == ["settings", "code", "packages", "hardware", "data", "convention"], done
    (copied / "b/certificate.json").unlink()
    done = fcnexp("report", "diff", "out", "b", folder=copied, cache=copied)
    assert done.stdout.splitlines()[1:] == [
        "not compared: code, packages, data, weights, which one of the runs has not recorded",
        "no recorded difference",
    ]
    done = fcnexp("report", "diff", "out", folder=copied, cache=copied)
    assert done.returncode == 1 and "diff: give two runs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["again=soon"], "again=soon: must be one of scores, whole, nothing, or a number of steps"),
        (["within=x"], "within=x: must be a number from 0"),
        (["agian=whole"], "agian: no such option (did you mean again?)"),
        (["gone"], "give one run"),
    ],
)
def test_mistakes_give_one_line(copied, arguments, expected):
    done = verify(copied, *arguments)
    assert (done.returncode, done.stdout) == (1, "") and expected in done.stderr
    assert done.stderr.count("\n") == 1


def test_run_without_a_certificate_or_with_a_damaged_one(copied):
    file = copied / "out/certificate.json"
    file.write_text("{}")
    with pytest.raises(DataError, match="certificate.json: damaged"):
        certificate.read(copied / "out")
    file.unlink()
    with pytest.raises(DataError, match="no certificate.json; give the folder of a finished"):
        certificate.read(copied / "out")


def test_file_is_read_once_while_it_stays_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNEXP_CACHE", str(tmp_path / "cache"))
    file, read = tmp_path / "a", []
    file.write_text("one")
    digest = digests.digest
    monkeypatch.setattr(digests, "digest", lambda path: read.append(path) or digest(path))
    first = digests.digests_of([file, tmp_path / "gone"])
    assert digests.digests_of([file]) == {str(file): first[str(file)]}
    assert first[str(tmp_path / "gone")] is None and read == [file]
    found = file.stat()
    file.write_text("two")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert digests.digests_of([file])[str(file)] != first[str(file)] and len(read) == 2
    (tmp_path / "cache" / digests.REMEMBERED).write_bytes(b"damaged" * 100)
    assert digests.digests_of([file])[str(file)] is not None
