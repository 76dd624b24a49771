"""images.npz: the counts of each image, without loss, small, and refused if damaged."""

import time

import numpy as np
import pytest
from scored_images import NAMES, counted, per_image_of, random_maps, random_record

from fcnexp.errors import DataError
from fcnexp.scoring.per_image import (
    IMAGES,
    WHOLE,
    ImageRecord,
    PerImage,
    dealt_order,
    joined,
    read_per_image,
    sparse,
    write_per_image,
)


def test_file_holds_every_count_and_object(tmp_path):
    written = random_record(0)
    write_per_image(tmp_path, written, written.matrix())
    found = read_per_image(tmp_path)
    assert (found.names, found.classes) == (written.names, written.classes)
    for name, table in written.tables.items():
        for ours, theirs in zip(found.tables[name], table, strict=True):
            assert np.array_equal(ours, theirs)


def test_images_add_up_to_the_matrix_and_to_nothing_else(tmp_path):
    labels, predictions = random_maps(1, 7)
    record = per_image_of(labels, predictions)
    every = sum(counted(*maps, 4) for maps in zip(labels, predictions, strict=True))
    assert np.array_equal(record.matrix(), every)
    every[1, 2] += 1
    with pytest.raises(AssertionError, match="images do not add up to the matrix"):
        write_per_image(tmp_path, record, every)
    assert not list(tmp_path.iterdir())


def test_margins_are_diagonal_rows_and_columns():
    labels, predictions = random_maps(2, 5)
    margins = per_image_of(labels, predictions).margins()
    for found, *maps in zip(margins, labels, predictions, strict=True):
        matrix = counted(*maps, 4)
        assert np.array_equal(found, [matrix.diagonal(), matrix.sum(1), matrix.sum(0)])


def test_same_records_give_the_same_bytes(tmp_path):
    written = []
    for name in "ab":
        (tmp_path / name).mkdir()
        record = random_record(3)
        write_per_image(tmp_path / name, record, record.matrix())
        written.append((tmp_path / name / IMAGES).read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("images", range(1, 10))
@pytest.mark.parametrize("processes", range(1, 5))
def test_processes_that_took_turns_are_put_in_order(images, processes):
    records = [ImageRecord(str(i), {WHOLE: sparse(np.eye(2, dtype=int))}) for i in range(images)]
    parts = [records[rank::processes] for rank in range(processes)]
    assert dealt_order(parts) == records


def test_large_counts_are_exact(tmp_path):
    record = joined([ImageRecord("a", {WHOLE: sparse(np.diag([2**40 + 1, 3]))})], ("x", "y"))
    write_per_image(tmp_path, record, record.matrix())
    assert read_per_image(tmp_path).matrix()[0, 0] == 2**40 + 1


def test_1449_images_of_150_classes_stay_below_20_mb(tmp_path):
    """Forty classes in the prediction of each image, twenty in its truth, all of them confused."""
    rng, classes = np.random.default_rng(0), tuple(map(str, range(150)))
    offsets, pairs, counts = [0], [], []
    for _ in range(1449):
        truth, guess = (rng.choice(150, n, replace=False) for n in (20, 40))
        pairs.append(np.sort((truth[:, None] * 150 + guess).reshape(-1)))
        counts.append(rng.integers(1, 100_000, len(pairs[-1])))
        offsets.append(offsets[-1] + len(pairs[-1]))
    table = (np.array(offsets), np.concatenate(pairs), np.concatenate(counts))
    record = PerImage(tuple(map(str, range(1449))), classes, {WHOLE: table})
    start = time.perf_counter()
    write_per_image(tmp_path, record, record.matrix())
    print(f"{(tmp_path / IMAGES).stat().st_size / 1e6:.1f} MB, {time.perf_counter() - start:.1f} s")
    assert (tmp_path / IMAGES).stat().st_size < 20e6


def test_run_without_the_file_has_none(tmp_path):
    assert read_per_image(tmp_path) is None


def damaged(arrays: dict, how: str) -> dict:
    changes = {
        "no names": {"names": None},
        "offsets too short": {"whole/offsets": arrays["whole/offsets"][:-1]},
        "offsets fall": {"whole/offsets": arrays["whole/offsets"][::-1]},
        "no counts": {"whole/counts": None},
        "class too large": {"whole/pairs": arrays["whole/pairs"] + np.uint8(len(NAMES) ** 2)},
        "negative counts": {"whole/counts": -arrays["whole/counts"].astype(int)},
        "more found than there is": {"objects/found": arrays["objects/areas"] + np.uint8(1)},
        "objects": {"names": np.array([None, "a"], object)},
    }
    return {k: v for k, v in (arrays | changes[how]).items() if v is not None}


WAYS = ["no names", "offsets too short", "offsets fall", "no counts", "class too large"]
WAYS += ["negative counts", "more found than there is", "objects"]


@pytest.mark.parametrize("how", WAYS)
def test_damaged_content_is_refused_by_name(tmp_path, how):
    record = random_record(4)
    write_per_image(tmp_path, record, record.matrix())
    with np.load(tmp_path / IMAGES) as stored:
        arrays = damaged(dict(stored), how)
    np.savez(tmp_path / IMAGES, **arrays)
    with pytest.raises(DataError, match=r"images.npz: damaged; remove it to do without intervals"):
        read_per_image(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.95])
def test_half_a_file_is_refused_by_name(tmp_path, kept):
    record = random_record(5)
    write_per_image(tmp_path, record, record.matrix())
    whole = (tmp_path / IMAGES).read_bytes()
    end = int(kept * len(whole)) if isinstance(kept, float) else kept
    (tmp_path / IMAGES).write_bytes(whole[:end])
    with pytest.raises(DataError, match=r"images.npz: damaged"):
        read_per_image(tmp_path)
