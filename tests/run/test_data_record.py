"""Runs whose data has changed are neither reported as done nor resumed."""

import os
import shutil
import time
from pathlib import Path

import made_up_jobs
import pytest
from commands import call, fcnexp
from fake_data import nyud_tree, own_tree, sbd_tree, voc_tree

from fcnexp.data.splits import Nyud, VocSbd
from fcnexp.run import data_record
from fcnexp.sweep import command

RUN = [
    *("data=folder", "logger=csv", "trainer=cpu", "augment=none", "workers=0", "pictures=0"),
    *("backbone.widths=[4,4,6,6,8,8]", "regime.steps=2", "regime.score_every=1"),
]
CLASSES = "classes: [{}]\n".format(", ".join(f"c{i}" for i in range(21)))
NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture
def own(tmp_path) -> Path:
    return own_tree(tmp_path / "own", NAMES)


def train(folder: Path, *arguments: str, root: str = "own"):
    given = [*RUN, f"data.root={root}", "hydra.run.dir=out", *arguments]
    return fcnexp("train", *given, folder=folder, cache=folder)


def rename_class(own: Path) -> None:
    (own / "classes.yaml").write_text(CLASSES.replace("c2,", "cat,"))


def later(path: Path) -> None:
    """Change a file's modification time only, as saving it again would."""
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 10**9))


EDITS = {
    "class names (c2 -> cat)": rename_class,
    "class names (c20 -> none)": lambda own: (own / "classes.yaml").write_text(
        CLASSES.replace(", c20", "")
    ),
    "train.txt (5 -> 4 names)": lambda own: (own / "train.txt").write_text("a\nb\nc\nd"),
    "train.txt (other names)": lambda own: (own / "train.txt").write_text("b\na\nc\nd\ne"),
    "files (masks/b.png)": lambda own: later(own / "masks/b.png"),
    "files (images/a.jpg)": lambda own: (own / "images/a.jpg").write_bytes(b"\xff\xd8"),
    "files (masks/a.png, masks/b.png, masks/c.png and 3 more)": lambda own: [
        later(own / f"masks/{name}.png") for name in NAMES
    ],
}


def recorded(tmp_path: Path, root: str) -> tuple[dict, Path]:
    """Return the plain config of custom data, and a folder with its record and a result."""
    from fcnexp.data.own import Folder

    given = {"root": root, "train_split": None, "val_split": None, "val_share": 0.5}
    data = Folder(**given)
    config = {"data": given | {"_target_": "fcnexp.data.own.Folder"}}
    splits = [data.train(("rgb",)), data.val(("rgb",))]
    data_record.write(tmp_path / "out", config, splits)
    (tmp_path / "out/result.json").write_text("{}")
    return config, tmp_path / "out"


@pytest.mark.parametrize("change", EDITS)
def test_change_is_described(change, own, tmp_path):
    _, out = recorded(tmp_path, str(own))
    assert data_record.changes(out) == ""
    EDITS[change](own)
    assert data_record.changes(out) == change


def test_comments_and_blank_lines_are_not_changes(own, tmp_path):
    _, out = recorded(tmp_path, str(own))
    (own / "classes.yaml").write_text("# mine\n" + CLASSES)
    (own / "train.txt").write_text("a\n\nb\nc \nd\ne\n")
    (own / "images/notes.txt").write_text("")
    assert data_record.changes(out) == ""


def test_images_that_were_split_by_name(own, tmp_path):
    for name in ("train.txt", "val.txt"):
        (own / name).unlink()
    _, out = recorded(tmp_path, str(own))
    shutil.copy(own / "images/a.jpg", own / "images/g.JPG")
    assert data_record.changes(out) == "images (6 -> 7 names)"
    (own / "images/g.JPG").unlink()
    (own / "val.txt").write_text("a")
    assert data_record.changes(out) == "val.txt (0 -> 1 names)"


def test_moved_or_copied_data_is_unchanged_if_its_times_are(own, tmp_path):
    config, out = recorded(tmp_path, str(own))
    shutil.copytree(own, tmp_path / "kept")  # copies modification times
    shutil.copytree(own, tmp_path / "new", copy_function=shutil.copyfile)
    for name, change in (
        ("kept", ""),
        ("new", "files (images/a.jpg, images/b.jpg, images/c.jpg and 9 more)"),
    ):
        roots = data_record.roots_of({"data": config["data"] | {"root": str(tmp_path / name)}})
        assert data_record.changes(out, roots) == change
    shutil.rmtree(own)
    assert data_record.changes(out) == ""  # nothing to compare: the run stays done


def test_every_list_and_file_of_the_papers_data_is_recorded(tmp_path):
    voc, sbd = voc_tree(tmp_path / "voc"), sbd_tree(tmp_path / "sbd")
    given = {"root": str(voc), "sbd_root": str(sbd)}
    data = VocSbd(**given, train_split="train", val_split="val", sbd_split="train")
    data_record.write(tmp_path, {"data": given}, [data.train(("rgb",)), data.val(("rgb",))])
    later(sbd / "cls/d.mat")
    (voc / "ImageSets/Segmentation/val.txt").write_text("b\na")
    change = "ImageSets/Segmentation/val.txt (1 -> 2 names), files (sbd_root/cls/d.mat)"
    assert data_record.changes(tmp_path) == change
    nyud = nyud_tree(tmp_path / "nyud", test=("5001",))
    split = Nyud(str(nyud), "train", "test").val(("hha",))
    data_record.write(tmp_path, {"data": {"root": str(nyud)}}, [split])
    later(nyud / "data/depth/img_5001.png")  # not read by this run
    later(nyud / "segmentation/img_5001.mat")
    assert data_record.changes(tmp_path) == "files (segmentation/img_5001.mat)"


def test_generated_data_has_no_record(tmp_path):
    config = {"data": {"_target_": "fcnexp.data.splits.Shapes", "root": "x"}}
    data_record.write(tmp_path, config, [])
    assert not list(tmp_path.iterdir()) and data_record.changes(tmp_path) == ""


def test_many_files_are_compared_quickly_and_recorded_compactly(tmp_path):
    count = 20_000
    (tmp_path / "own").mkdir()
    for i in range(count):
        (tmp_path / f"own/photograph_{i:08}.png").touch()

    class Split(list):
        lists = ()

        def paths(self, index: int) -> list[Path]:
            return [tmp_path / f"own/photograph_{index:08}.png"]

    config = {"data": {"root": str(tmp_path / "own")}}
    data_record.write(tmp_path, config, [Split(range(count))])
    start = time.monotonic()
    assert data_record.changes(tmp_path) == ""
    assert time.monotonic() - start < 2  # some 0.1 s; a loaded machine takes longer
    assert (tmp_path / "data.json").stat().st_size < 30 * count


@pytest.mark.parametrize("edit", ["class names (c2 -> cat)", "files (masks/b.png)"])
def test_finished_run_on_changed_data_is_refused(edit, own, tmp_path):
    assert train(tmp_path).returncode == 0
    result = (tmp_path / "out/result.json").read_bytes()
    assert "done before" in train(tmp_path).stdout
    EDITS[edit](own)
    done = train(tmp_path)
    assert done.returncode == 1 and "done before" not in done.stdout
    assert f"the data has changed since this run began: {edit}; set another hydra.run.dir" in (
        done.stderr
    )
    assert (tmp_path / "out/result.json").read_bytes() == result
    (tmp_path / "out/data.json").unlink()  # as in runs of older versions
    assert "done before" in train(tmp_path).stdout


def test_run_resumes_only_with_the_data_it_was_started_with(own, tmp_path):
    assert train(tmp_path).returncode == 0
    (tmp_path / "out/result.json").unlink()
    shutil.move(own, tmp_path / "moved")
    resumed = train(tmp_path, root="moved")
    assert resumed.returncode == 0, resumed.stderr
    assert "continues after step 2" in resumed.stdout
    (tmp_path / "out/result.json").unlink()
    shutil.copytree(tmp_path / "moved", own)
    later(own / "masks/a.png")
    done = train(tmp_path)
    assert done.returncode == 1 and "files (masks/a.png); set another hydra.run.dir" in done.stderr
    assert not (tmp_path / "out/result.json").exists()
    done = train(tmp_path, root="moved")
    shutil.copytree(own, tmp_path / "other")
    done = train(tmp_path, root="other")
    assert done.returncode == 1
    assert "other, which has other files (masks/a.png); use the old value" in done.stderr


def test_data_repaired_before_the_first_checkpoint_is_recorded_again(own, tmp_path):
    mask = (own / "masks/a.png").read_bytes()
    (own / "masks/a.png").write_bytes(mask[:20])
    assert train(tmp_path).returncode == 1
    (own / "masks/a.png").write_bytes(mask)
    assert train(tmp_path).returncode == 0
    assert data_record.changes(tmp_path / "out") == ""


def test_damaged_record_is_named(own, tmp_path):
    assert train(tmp_path, "regime.steps=1", "regime.score_every=1").returncode == 0
    (tmp_path / "out/data.json").write_text("{")
    done = train(tmp_path, "regime.steps=1", "regime.score_every=1")
    assert done.returncode == 1 and "data.json: damaged; remove it if the data is" in done.stderr


def with_data(cfg, folder):
    """Run a fake job that writes the data record, as a training does."""
    recorded(folder.parent, cfg.data.root)
    os.replace(folder.parent / "out/data.json", folder / "data.json")
    return made_up_jobs.task(cfg, folder)


def sweep(folder: Path, *arguments: str):
    given = ["-m", "hydra.sweep.dir=out", "data=folder", "seed=0,1", *arguments]
    return call(lambda: command.run(with_data), *given, folder=folder, cache=folder)


@pytest.mark.parametrize("launcher", ["in_process", "subprocess"])
def test_sweep_on_changed_data_is_refused_before_any_job_starts(launcher, own, tmp_path):
    assert sweep(tmp_path, "data.root=own").returncode == 0
    again = [*("data.root=own", f"hydra/launcher={launcher}")]
    assert "2 jobs: 2 done (0 now, 2 before)" in sweep(tmp_path, *again).stdout
    rename_class(own)
    done = sweep(tmp_path, *again, "seed=0,1,2")
    assert done.returncode == 1 and "done before" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert "since this run began: class names (c2 -> cat); set another hydra.sweep.dir, " in line
    assert len(list((tmp_path / "out").glob("*/job.json"))) == 2


def test_two_roots_with_the_same_folder_name_are_two_jobs(tmp_path):
    for name in ("one", "two"):
        voc_tree(tmp_path / name / "VOC2012")
    command = ["data=voc", "data.root=one/VOC2012,two/VOC2012", "seed=0"]
    done = made_up_jobs.sweep(*command, folder=tmp_path)
    assert done.returncode == 0 and "2 jobs: 2 done (2 now, 0 before)" in done.stdout, done.stderr
    assert "the same job as" not in done.stdout and made_up_jobs.seeds(tmp_path) == [0, 0]
