"""Each reader on 2,000 files with one flipped byte: a typed error or the correct content, quickly.

The correct content is that of a reference reader, if there is one: protobuf for caffemodels,
Python's decoders for text and JSON, Pillow for images. Otherwise a flip must be detected or change
nothing.
"""

import copy
import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_nets import as_protobuf_reads, same_blobs, small_file
from flips import BYTES, FLIPS, SECONDS, Seen, flipped, read_all
from made_up_runs import write_job, write_run
from PIL import Image
from sbd_files import like_sbd, made_up
from test_predict import SMALL, write_checkpoint

from fcnexp.data.files import read_label_mat, read_label_png, read_rgb
from fcnexp.data.lists import read_ids
from fcnexp.data.nyud import read_nyud_label
from fcnexp.errors import DataError
from fcnexp.nn.weights.caffe import read_caffemodel
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.reporting import records
from fcnexp.sweep import ledger


def check(seen: Seen, name: str, tell, *, least_refused: int = 1, least_read: int = 1) -> None:
    tell(f"fuzz, {name}: {seen.line()}")
    assert seen.read + seen.refused == FLIPS and not seen.wrong, seen.wrong[:10]
    assert seen.slowest < SECONDS and seen.bytes < BYTES
    assert seen.refused >= least_refused and seen.read >= least_read  # both outcomes occurred


def test_image_list(tmp_path, tell):
    whole = "\ufeff2007_000032\n2007_000039 1\r\nstraße\n\n2008_000005\n2008_000007\n".encode()

    def right(found: list[str], content: bytes) -> bool:
        """Compare with Python's decoder, splitting at any line end."""
        lines = re.split(r"[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]+", content.decode("utf-8-sig"))
        names = [line.split()[0] for line in lines if line.strip()]
        bad = any(set(name) & set("/\\\0") for name in names) or len(set(names)) < len(names)
        return found == names and not bad

    seen = read_all(tmp_path / "train.txt", flipped(whole, FLIPS, 1), read_ids, right)
    check(seen, "image list", tell)


@pytest.mark.parametrize("form", ["v1", "v2"])
def test_caffemodel(form, tmp_path, tell):
    def right(found: dict[str, list[np.ndarray]], content: bytes) -> bool:
        return same_blobs(found, as_protobuf_reads(content))

    contents = flipped(small_file(form), FLIPS, 2, first=60)  # half of them outside the weights
    seen = read_all(tmp_path / "net.caffemodel", contents, read_caffemodel, right)
    check(seen, f"caffemodel {form}", tell, least_refused=200, least_read=200)


@pytest.mark.parametrize("form", ["compressed", "plain"])
def test_sbd_label(form, tmp_path, tell):
    label = made_up(9, 12)
    whole = like_sbd(label, compressed=form == "compressed")

    def right(found: np.ndarray, content: bytes) -> bool:
        """True for the label or, without a checksum, for one that differs in one pixel."""
        if form == "compressed" or found.shape != label.shape:
            return np.array_equal(found, label)
        return int((found != label).sum()) <= 1

    seen = read_all(tmp_path / "a.mat", flipped(whole, FLIPS, 3), read_label_mat, right)
    check(seen, f"SBD label, {form}", tell, least_refused=100)


def test_nyud_label(tmp_path, tell):
    stored = made_up(9, 12).astype(float) + 1
    buffer = io.BytesIO()
    import scipy.io

    scipy.io.savemat(buffer, {"segmentation": stored}, do_compression=True)

    def right(found: np.ndarray, content: bytes) -> bool:
        return np.array_equal(found, (stored - 1).astype(np.uint8))

    seen = read_all(
        tmp_path / "a.mat", flipped(buffer.getvalue(), FLIPS, 4), read_nyud_label, right
    )
    check(seen, "NYUD label", tell, least_refused=100)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("net") / "net.ckpt", *SMALL)


def same(found, expected) -> bool:
    """Return True if two checkpoints hold equal values of equal types."""
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected) and found.dtype == expected.dtype
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[k], expected[k]) for k in expected)
    return found == expected and type(found) is type(expected)


@pytest.mark.slow  # each reads all 80 tensors
@pytest.mark.parametrize("form", ["alone", "with digest", "mapped"])
def test_checkpoint(form, checkpoint, tmp_path, tell):
    from fcnexp.system import checkpoint_store

    whole, stored = checkpoint.read_bytes(), read_checkpoint(checkpoint)
    if form == "with digest":
        checkpoint_store.store(tmp_path / "net.ckpt", lambda file: file.write(whole))
    torch.set_num_threads(1)  # forked processes have only one thread

    def read(path: Path) -> dict:
        return copy.deepcopy(read_checkpoint(path, mapped=form == "mapped"))

    seen = read_all(
        tmp_path / "net.ckpt",
        flipped(whole, FLIPS, 5),
        read,
        lambda found, content: same(found, stored),
    )
    least = 0 if form == "with digest" else 1
    check(seen, f"checkpoint {form}", tell, least_refused=1000, least_read=least)


@pytest.mark.slow
def test_every_byte_of_a_checkpoints_index(checkpoint, tmp_path, tell):
    """Flip bytes of the zip directory, which holds names, sizes and offsets."""
    whole, stored = checkpoint.read_bytes(), read_checkpoint(checkpoint)
    with zipfile.ZipFile(checkpoint) as archive:
        start = archive.start_dir
    torch.set_num_threads(1)
    rng = np.random.default_rng(6)

    def contents():
        for _ in range(FLIPS):
            content = bytearray(whole)
            content[rng.integers(start, len(whole))] ^= int(rng.integers(1, 256))
            yield bytes(content)

    seen = read_all(
        tmp_path / "net.ckpt", contents(), read_checkpoint, lambda found, _: same(found, stored)
    )
    check(seen, "checkpoint's index", tell, least_refused=200)


JOB = {
    "digest": "0a1b2c3d",
    "number": 3,
    "state": "failed",
    "overrides": ["seed=0", "model=fcn8s"],
    "attempts": 2,
    "host": "node7",
    "pid": 4711,
    "started": "2026-01-02T03:04:05.678+00:00",
    "ended": "2026-01-02T04:04:05.678+00:00",
    "seconds": 3600.0,
    "error": {"type": "DataError", "message": "a.jpg: damaged", "traceback": None},
    "version": "1.0",
}


def decoded(content: bytes) -> dict:
    """Decode with Python's decoder."""
    return json.loads(content.decode("utf-8"))


def test_ledger(tmp_path, tell):
    def read(path: Path):
        record = ledger.read(path.parent)
        if record is None:
            assert ledger.state_of(path.parent) == "stale"
            raise DataError(f"{path}: stale")  # the state in the ledger
        return record

    def right(found: ledger.Record, content: bytes) -> bool:
        stored = decoded(content)
        return all(getattr(found, name) == stored[name] for name in JOB)

    whole = json.dumps(JOB, indent=2).encode()
    seen = read_all(tmp_path / "job.json", flipped(whole, FLIPS, 7), read, right)
    check(seen, "ledger, job.json", tell, least_refused=200)


def test_job_read_by_reports(tmp_path, tell):
    def right(found: records.Job, content: bytes) -> bool:
        stored = decoded(content)
        overrides = stored.get("overrides") or []
        return (found.state, found.overrides, found.seconds) == (
            stored["state"],
            overrides,
            stored.get("seconds"),
        )

    whole = json.dumps(JOB, indent=2).encode()
    read = lambda path: records.read_job(path.parent)  # noqa: E731
    seen = read_all(tmp_path / "job.json", flipped(whole, FLIPS, 8), read, right)
    check(seen, "reports, job.json", tell, least_refused=200)


@pytest.mark.parametrize("file", ["result.json", "config.yaml"])
def test_record_of_a_run(file, tmp_path, tell):
    run = write_job(write_run(tmp_path / "run"), "done")

    def read(path: Path) -> records.Run:
        found = records.read_run(path.parent)
        records.read_job(path.parent)
        return found

    def right(found: records.Run, content: bytes) -> bool:
        if file == "result.json":
            return found.result == decoded(content)
        return isinstance(found.config, dict)  # there is no second YAML reader

    seen = read_all(run / file, flipped((run / file).read_bytes(), FLIPS, 9), read, right)
    check(seen, f"reports, {file}", tell)


def photograph(form: str, mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(0)
    shape = (40, 50, 3) if mode == "RGB" else (40, 50)
    image = Image.fromarray(rng.integers(0, 20, shape, np.uint8))
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_photograph(form, tmp_path, tell):
    """A JPEG has no checksum: a changed image is correct if Pillow reads the same one."""

    def right(found: torch.Tensor, content: bytes) -> bool:
        with Image.open(io.BytesIO(content)) as image:
            return np.array_equal(found.permute(1, 2, 0).numpy(), np.array(image.convert("RGB")))

    contents = flipped(photograph(form), FLIPS, 10)
    seen = read_all(tmp_path / "a.img", contents, read_rgb, right)
    check(seen, f"photograph, {form}", tell)


def test_label(tmp_path, tell):
    def right(found: np.ndarray, content: bytes) -> bool:
        with Image.open(io.BytesIO(content)) as image:
            return np.array_equal(found, np.array(image))

    contents = flipped(photograph("PNG", "P"), FLIPS, 11)
    seen = read_all(tmp_path / "a.png", contents, read_label_png, right)
    check(seen, "label, PNG", tell, least_refused=100)
