"""SBD's labels are read past scipy, and are what scipy reads."""

import zlib
from io import BytesIO

import numpy as np
import pytest
import scipy.io
from scipy.sparse import csc_array

from fcnexp.data.files import read_label_mat
from fcnexp.data.mat import UnlikeSbdError, field_of_struct
from fcnexp.errors import DataError


def like_sbd(label: np.ndarray, *, compressed: bool = True, **others) -> bytes:
    """A file with what SBD's have: boundaries of 20 classes, the label, the classes that occur."""
    boundaries = np.empty((20, 1), object)
    for k in range(20):
        boundaries[k, 0] = csc_array((label == k).astype(np.uint8))
    fields = {
        "Boundaries": boundaries,
        "Segmentation": label,
        "CategoriesPresent": np.unique(label)[:, None],
    }
    buffer = BytesIO()
    scipy.io.savemat(buffer, {"GTcls": fields, **others}, do_compression=compressed)
    return buffer.getvalue()


def made_up(*size: int) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 21, size, dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 1), (2, 3), (7, 5), (31, 64)])
def test_label_is_read_past_scipy(size):
    found = field_of_struct(like_sbd(made_up(*size)), "GTcls", "Segmentation")
    np.testing.assert_array_equal(found, made_up(*size))
    assert found.dtype == np.uint8 and found.flags.c_contiguous and found.flags.writeable


OTHERS = {
    "not compressed": like_sbd(made_up(4, 6), compressed=False),
    "two variables": like_sbd(made_up(4, 6), GTinst=1),
    "more behind it": like_sbd(made_up(4, 6)) + bytes(8),
    "logical": like_sbd(made_up(4, 6) > 3),
    "int16": like_sbd(made_up(4, 6).astype(np.int16)),
    "three axes": like_sbd(made_up(4, 6)).replace(b"IM", b"MI", 1),
}


@pytest.mark.parametrize("file", OTHERS.values(), ids=OTHERS)
def test_files_made_in_another_way_are_left_to_scipy(file):
    with pytest.raises(UnlikeSbdError):
        field_of_struct(file, "GTcls", "Segmentation")


@pytest.mark.parametrize("kind", ["not compressed", "two variables"])
def test_labels_of_such_files_are_read_all_the_same(kind, tmp_path):
    (tmp_path / "a.mat").write_bytes(OTHERS[kind])
    np.testing.assert_array_equal(read_label_mat(tmp_path / "a.mat"), made_up(4, 6))


def test_other_names_are_not_found():
    for variable, field in (("GTinst", "Segmentation"), ("GTcls", "Labels")):
        with pytest.raises(UnlikeSbdError):
            field_of_struct(like_sbd(made_up(4, 6)), variable, field)


def test_no_flipped_byte_and_no_cut_gives_another_label(tmp_path):
    label, path = made_up(9, 12), tmp_path / "a.mat"
    whole, rng, refused = like_sbd(label), np.random.default_rng(0), 0
    for trial in range(2000):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged if trial % 10 else whole[: rng.integers(len(whole))])
        try:
            np.testing.assert_array_equal(read_label_mat(path), label)
        except DataError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 1000  # of the first 116 bytes, which are words for people, any will do


def test_damage_within_is_told_by_the_checksum():
    whole = bytearray(like_sbd(made_up(9, 12)))
    whole[-1] ^= 1
    with pytest.raises(zlib.error):
        field_of_struct(bytes(whole), "GTcls", "Segmentation")


@pytest.mark.real_data
def test_all_of_the_real_labels_are_read_past_scipy(shared_data):
    paths = sorted((shared_data / "sbd/cls").glob("*.mat"))
    for path in paths:
        theirs = scipy.io.loadmat(path)["GTcls"][0]["Segmentation"][0]
        ours = field_of_struct(path.read_bytes(), "GTcls", "Segmentation")
        np.testing.assert_array_equal(ours, theirs)
    assert len(paths) == 407
