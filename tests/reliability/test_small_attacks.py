"""Small attacks: damaged markers, names that a terminal obeys, clocks, links, odd places."""

import json
import shutil
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from bad_commands import PICTURE, tar
from commands import TINY, call, fcnexp
from made_up_runs import write_run
from test_predict import SMALL, write_checkpoint

from fcnexp.config.checks import check_targets
from fcnexp.data.archives import VOC2012, unpack
from fcnexp.data.generated import cache
from fcnexp.data.palette import read_classes
from fcnexp.data.splits import Shapes
from fcnexp.errors import DataError, WeightsError
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.sweep import __main__ as sweep_command
from fcnexp.sweep import launcher, ledger
from fcnexp.system.atomic import write_atomically
from fcnexp.system.os_errors import ANY, message_for
from fcnexp.system.visible import visible, visible_page

ESCAPE, REVERSED = "\x1b[2J\x1b]0;owned\x07", "cat\u202egpj.exe"


@pytest.fixture
def shapes(tmp_path) -> Shapes:
    return Shapes(str(tmp_path), num_train=1, num_val=1, side=(48, 50), seed=0)


DAMAGED = {
    "cut": b'{"version": 1, "se',
    "empty": b"",
    "bytes": b"\xff\xfe\x00",
    "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_marker_of_the_cache_names_its_folder(name, shapes, tmp_path):
    shapes.val(("rgb",))
    (folder,) = tmp_path.iterdir()
    (folder / "shapes.json").write_bytes(DAMAGED[name])
    message = rf"shapes\.json: damaged; remove {folder} to have it generated again"
    with pytest.raises(DataError, match=message):
        shapes.val(("rgb",))
    shutil.rmtree(folder)
    assert len(shapes.val(("rgb",))) == 1


def test_a_cut_image_of_the_cache_is_not_to_be_fetched(shapes, tmp_path):
    samples = shapes.val(("rgb",))
    (folder,) = tmp_path.iterdir()
    image = next((folder / "JPEGImages").glob("val*"), None) or samples.paths(0)[0]
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(DataError, match=f"remove {folder} to have it generated again"):
        samples[0]
    assert cache.cure(Path("/data/voc/JPEGImages/a.jpg")) == "fetch it again"


VERSIONS = {
    "a tensor": torch.ones(3),
    "a number as a tensor": torch.tensor(3),
    "a list": [3],
    "true": True,
    "a fraction": 3.0,
}
ENTRIES = {
    "precision": torch.ones(3),
    "masking": {"train": torch.ones(2), "test": None},
    "class_names": [ESCAPE] * 8,
    "outputs": {"class": torch.tensor(8)},
}


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("net") / "net.ckpt", *SMALL)


@pytest.mark.parametrize(("key", "value"), [*ENTRIES.items()], ids=[*ENTRIES])
def test_entries_that_are_tensors_or_escapes_are_refused(key, value, net, tmp_path):
    stored = torch.load(net, weights_only=True)
    stored["fcnexp"][key] = value
    torch.save(stored, tmp_path / "odd.ckpt")
    with pytest.raises(WeightsError, match=rf"odd\.ckpt: damaged, fcnexp\.{key} is not valid"):
        read_checkpoint(tmp_path / "odd.ckpt")


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_that_are_no_number_are_refused(name, net, tmp_path):
    stored = torch.load(net, weights_only=True)
    stored["fcnexp"]["version"] = VERSIONS[name]
    torch.save(stored, tmp_path / "odd.ckpt")
    with pytest.raises(WeightsError, match=r"odd\.ckpt: checkpoint version \w+, but"):
        read_checkpoint(tmp_path / "odd.ckpt")


@pytest.mark.parametrize("name", [ESCAPE, REVERSED, "a\nb", "a\rb", "\x9b31m"])
def test_class_names_with_control_characters_are_refused(name, tmp_path):
    (tmp_path / "classes.yaml").write_text(json.dumps({"classes": ["background", name]}))
    with pytest.raises(DataError, match="holds control characters; remove them") as caught:
        read_classes(tmp_path / "classes.yaml")
    assert str(caught.value) == visible(str(caught.value))


def end_job(folder: Path, failure: dict | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ledger.end(folder, ledger.begin(folder, "x", 0, []), failure)


def test_status_and_report_show_escapes_as_text(tmp_path):
    end_job(tmp_path / "s/0", {"type": REVERSED, "message": ESCAPE, "traceback": None})
    write_run(tmp_path / "s/1", head__dropout=REVERSED, choices={"model": ESCAPE})
    write_run(tmp_path / "s/2", head__dropout=ESCAPE, choices={"model": REVERSED})
    told = call(sweep_command.main, "status", "s", folder=tmp_path, cache=tmp_path)
    made = fcnexp("report", "s", folder=tmp_path, cache=tmp_path)
    assert made.returncode == 0, made.stderr
    files = [(tmp_path / f"s/report.{suffix}").read_text() for suffix in ("html", "md", "csv")]
    for text in (told.stdout, told.stderr, made.stdout, made.stderr, *files):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "owned" in told.stdout and all("owned" in text for text in files)
    data = json.loads(files[0].partition('id="data">')[2].partition("</script>")[0])
    assert "\\u202e" in json.dumps(data, ensure_ascii=False) and "\u202e" not in str(data)


def test_what_is_shown_keeps_lines_and_other_scripts():
    kept = "a\tb\r\nc\u00a0d é 猫 عربي 👩‍🚀"
    assert visible(kept) == kept and visible_page(kept) == kept
    assert visible(f"x{ESCAPE}") == r"x\x1b[2J\x1b]0;owned\x07"
    assert json.loads(visible_page(json.dumps("\u202e \n é"))) == r"\u202e " + "\n é"


@pytest.mark.parametrize("state", ["failed", "done"])
def test_cleaning_a_link_removes_what_it_points_to_only_if_it_failed(state, tmp_path):
    (tmp_path / "s").mkdir()
    if state == "done":
        write_run(tmp_path / "elsewhere/job")
    failure = {"type": "E", "message": "m", "traceback": None} if state == "failed" else None
    end_job(tmp_path / "elsewhere/job", failure)
    (tmp_path / "s/link").symlink_to(tmp_path / "elsewhere/job")
    done = call(sweep_command.main, "clean", "s/link", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "elsewhere/job").exists() == (state == "done")
    assert (tmp_path / "s/link").is_symlink() == (state == "done")


PLACES = ["/proc/self/x", "/proc/1/x", "/dev/null/x", "/sys/x"]


@pytest.mark.parametrize("place", PLACES)
def test_a_run_folder_that_cannot_be_made_is_told(place, tmp_path):
    done = fcnexp("train", *TINY, f"hydra.run.dir={place}", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {place}"), done.stderr
    assert len(done.stderr.splitlines()) == 1 and "hydra.run.dir" in done.stderr


@pytest.mark.parametrize(
    "words", ["libx.so: failed to map segment from shared object", "std::bad_alloc"]
)
def test_too_little_address_space_is_not_a_missing_part(words, monkeypatch):
    def fail(target: str) -> None:
        raise ImportError(words)

    monkeypatch.setattr("fcnexp.config.checks.get_object", fail)
    with pytest.raises(ImportError) as caught:
        check_targets({"_target_": "fcnexp.nn.fcn.FCN"}, "model")
    assert message_for(caught.value, ANY).startswith("out of memory")


def test_a_full_disk_is_told_with_the_space_before_the_partial_file_went(tmp_path, monkeypatch):
    free = [3 * 2**20, 900 * 2**20]  # before and after the partial file is removed
    usage = type("Usage", (), {"total": 2**30, "free": property(lambda _: free.pop(0))})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage())

    def full(*_, **__) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "a"))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomically(tmp_path / "a", "text")
    assert "3 of 1024 MiB free" in message_for(caught.value, ANY)


def test_a_clock_that_was_set_back_gives_no_negative_seconds(tmp_path):
    record = ledger.begin(tmp_path, "x", 0, [])
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    record = type(record)(**{**vars(record), "started": later})
    assert ledger.end(tmp_path, record).seconds == 0


DEEP = {
    "deep": "VOCdevkit/VOC2012/JPEGImages/" + "a/" * 3000 + "x.jpg",
    "long": "VOCdevkit/VOC2012/JPEGImages/" + "a" * 5000 + ".jpg",
}


@pytest.mark.parametrize("name", DEEP)
def test_archives_with_endless_paths_are_refused(name, tmp_path):
    file = tar(tmp_path / "a.tar", [PICTURE, (DEEP[name], tarfile.REGTYPE, b"x")])
    with pytest.raises(DataError, match=r"a\.tar: .* is a path of \d+ folders"):
        unpack(file, tmp_path / "root", VOC2012, lambda _: None)
    assert not (tmp_path / "root").exists()


def test_planning_a_large_sweep_says_how_far_it_is(monkeypatch, capsys):
    moments = iter([5.0, 12.0, 15.0, 23.0])
    monkeypatch.setattr(launcher.time, "monotonic", lambda: next(moments))
    told = 0.0
    for composed in (100, 200, 300, 400):
        told = launcher.tell_of(composed, told)
    assert capsys.readouterr().err.splitlines() == [
        "200 configs of the sweep composed ...",
        "400 configs of the sweep composed ...",
    ]


def test_number_of_small_attacks(tell):
    families = (DAMAGED, VERSIONS, ENTRIES, PLACES, DEEP)
    tell(f"small attacks: {sum(map(len, families)) + 14}, each told in one line or harmless")
