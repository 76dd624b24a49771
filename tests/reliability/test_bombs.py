"""Small files that stand for more than memory holds, and files that choose where to write."""

import copy
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import fcnexp
from made_up_runs import write_run
from test_predict import SMALL, write_checkpoint
from time_limits import in_time

from fcnexp.data.palette import read_classes
from fcnexp.errors import ConfigError, DataError, WeightsError
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.reporting.records import read_run
from fcnexp.run import data_record, run_folder
from fcnexp.scoring.per_image import IMAGES, read_per_image


def doubled(times: int, begin: str, joined: str) -> str:
    """YAML in which each line holds the one before it ten times."""
    lines = [f"a0: &a0 {begin}"]
    for n in range(1, times):
        lines.append(f"a{n}: &a{n} {joined.format(', '.join([f'*a{n - 1}'] * 10))}")
    return "\n".join(lines)


BOMBS = {
    "aliases of lists": doubled(10, "[x, x]", "[{}]"),
    "aliases under the key": doubled(10, "[x]", "[{}]") + "\nclasses: *a9\n",
    "aliases of dicts": doubled(10, "{x: 1}", "[{}]"),
    "merged aliases": doubled(10, "{x: 1}", "{{<<: [{}]}}"),
    "an alias of itself": "classes: &a [*a]",
    "a list within lists": "classes: " + "[" * 100_000,
    "lists that are closed": "classes: " + "[" * 5_000 + "]" * 5_000,
    "dicts within dicts": "{a: " * 5_000 + "}" * 5_000,
    "blocks within blocks": "".join(f"{' ' * n}a:\n" for n in range(1_000)),
    "a number of base 60": "classes: " + "1:" * 1_000_000 + "1",
    "a number of many digits": "classes: " + "9" * 1_000_000,
    "a fraction of many digits": "classes: " + "1:" * 500_000 + "1.5",
    "a date that does not exist": "classes: [a, b]\nmade: 2024-13-45",
    "a time that does not exist": "classes: [a, b]\nmade: 2024-01-01 25:61:61",
    "five megabytes": "classes: [a]\n#" + "x" * 5_000_000,
    "a tag that runs code": "classes: !!python/object/apply:os.system ['true']",
    "bytes that are none": "classes: !!binary '?'",
    "keys that are lists": "? [a, b]\n: 1",
    "an anchor that is missing": "classes: *gone",
}


def of_classes(folder: Path, text: str) -> None:
    (folder / "classes.yaml").write_text(text)
    read_classes(folder / "classes.yaml")


def of_a_run_resumed(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    run_folder.stored_config(folder)


def of_a_report(folder: Path, text: str) -> None:
    run = write_run(folder / "run")
    (run / "config.yaml").write_text(text)
    read_run(run)


READERS = {
    "classes.yaml": of_classes,
    "config.yaml of a run": of_a_run_resumed,
    "config.yaml in a report": of_a_report,
}


HARMLESS = {  # as text: OmegaConf, which reads a run's config to resume it, knows no dates or bytes
    ("a date that does not exist", "config.yaml of a run"),
    ("a time that does not exist", "config.yaml of a run"),
    ("bytes that are none", "config.yaml of a run"),
    ("bytes that are none", "config.yaml in a report"),
}
TRIED = [(bomb, reader) for bomb in BOMBS for reader in READERS if (bomb, reader) not in HARMLESS]


@pytest.mark.parametrize(("bomb", "reader"), TRIED)
def test_a_yaml_bomb_is_refused_in_time(bomb, reader, tmp_path):
    with in_time(), pytest.raises((ConfigError, DataError), match=str(tmp_path)) as caught:
        READERS[reader](tmp_path, BOMBS[bomb])
    assert len(str(caught.value)) < 600


def test_a_bomb_in_the_place_of_recorded_classes_is_a_change(tmp_path):
    (tmp_path / "classes.yaml").write_text(BOMBS["aliases under the key"])
    with in_time():
        assert data_record._content(tmp_path / "classes.yaml") is None


def test_largest_sensible_classes_file_is_read(tmp_path):
    names = [f"class number {n}" for n in range(10_000)]
    lines = [f"- {name}" for name in names]
    values = [f"  {name}: {n}" for n, name in enumerate(names)]
    (tmp_path / "classes.yaml").write_text("\n".join(["classes:", *lines, "values:", *values]))
    assert read_classes(tmp_path / "classes.yaml").names == tuple(names)


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("net") / "net.ckpt", *SMALL)


def stored(net: Path) -> dict:
    return torch.load(net, weights_only=True)


def nested(levels: int) -> list:
    node: list = ["x"]
    for _ in range(levels):
        node = [node]
    return node


def shared(times: int) -> list:
    """Lists of lists, each ten times the one below it: 10 ** times values in a few bytes."""
    node: list = ["x"]
    for _ in range(times):
        node = [node] * 10
    return node


@pytest.mark.parametrize("name", ["config", "recipe", "masking", "more"])
@pytest.mark.parametrize("bomb", [shared(12), nested(100)], ids=["shared", "nested"])
def test_a_bomb_in_a_checkpoint_is_refused_in_time(name, bomb, net, tmp_path):
    content = stored(net)
    part = content["fcnexp"].get(name)
    content["fcnexp"][name] = part | {"more": bomb} if isinstance(part, dict) else bomb
    torch.save(content, tmp_path / "bomb.ckpt")
    with in_time(), pytest.raises(WeightsError, match=r"bomb\.ckpt: damaged, fcnexp holds"):
        read_checkpoint(tmp_path / "bomb.ckpt")


def test_a_packed_checkpoint_that_fills_the_memory_is_refused(net, tmp_path):
    zeros = io.BytesIO()
    torch.save(stored(net) | {"more": torch.zeros(30_000_000)}, zeros)
    with (
        zipfile.ZipFile(zeros) as old,
        zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert (tmp_path / "bomb.ckpt").stat().st_size < 2_000_000
    for mapped in (False, True):
        with pytest.raises(WeightsError, match=r"bomb\.ckpt: .* MB that would unpack to 120 MB"):
            read_checkpoint(tmp_path / "bomb.ckpt", mapped=mapped)


def test_entries_over_each_other_are_refused(net, tmp_path):
    """A hundred tensors, each the same bytes of the file."""
    path = tmp_path / "bomb.ckpt"
    path.write_bytes(net.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
        for number in range(100):
            again = copy.copy(largest)
            again.filename = f"{largest.filename}{number}"
            archive.filelist.append(again)
        archive._didModify = True
    with pytest.raises(WeightsError, match=r"bomb\.ckpt: .* MB that would unpack to"):
        read_checkpoint(path)


def test_counts_of_images_that_fill_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fcnexp.scoring.per_image.MOST_BYTES", 1_000_000)
    np.savez_compressed(tmp_path / IMAGES, names=np.zeros(2_000_000, np.uint8))
    assert (tmp_path / IMAGES).stat().st_size < 10_000
    with pytest.raises(DataError, match=rf"{IMAGES}: damaged"):
        read_per_image(tmp_path)


def foreign(net: Path, path: Path, **data: object) -> Path:
    """A checkpoint with other settings of its data."""
    content = stored(net)
    content["fcnexp"]["config"]["data"] |= data
    torch.save(content, path)
    return path


SMALL_SET = {"num_train": 2, "num_val": 2, "side": [48, 50]}


def test_generated_data_of_a_foreign_checkpoint_stays_in_the_cache(net, tmp_path):
    path = foreign(net, tmp_path / "foreign.ckpt", root=str(tmp_path / "victim"), **SMALL_SET)
    (tmp_path / "victim").mkdir()
    typed = [f"checkpoint={path}", "hydra.run.dir=out", "workers=0", "pictures=0", "trainer=cpu"]
    done = fcnexp("evaluate", *typed, folder=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "victim").iterdir())
    assert [place.name for place in (tmp_path / "cache").iterdir()] == ["shapes-2-2-48-50-7"]


HUGE = {
    "ten million images": {"num_train": 10**7, "num_val": 1},
    "images of a million pixels a side": {**SMALL_SET, "side": [10**6, 10**6]},
    "a number that is text": {**SMALL_SET, "num_train": "2"},
    "a negative number": {**SMALL_SET, "num_val": -1},
    "no side": {**SMALL_SET, "side": None},
}


@pytest.mark.parametrize("name", HUGE)
def test_a_foreign_checkpoint_cannot_fill_the_disk(name, net, tmp_path):
    path = foreign(net, tmp_path / "foreign.ckpt", **HUGE[name])
    done = fcnexp("evaluate", f"checkpoint={path}", folder=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 1 and done.stderr.startswith(f"error: {path}: "), done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "cache").exists()


def test_number_of_bombs(tell):
    bombs = len(TRIED) + 1 + 8 + 2 + 1
    tell(f"bombs of YAML, checkpoints and records: {bombs}, each refused in time and by name")
    tell(f"foreign checkpoints that generate data: {1 + len(HUGE)}, none writes elsewhere")
