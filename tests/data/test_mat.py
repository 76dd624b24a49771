"""SBD labels are read without scipy and equal scipy's; damaged files are refused."""

import struct
import zlib

import numpy as np
import pytest
import scipy.io
from sbd_files import like_sbd, made_up

from fcnexp.data.files import read_label_mat
from fcnexp.data.mat import UnlikeSbdError, field_of_struct
from fcnexp.errors import DataError


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 1), (2, 3), (7, 5), (31, 64)])
def test_label_is_read_without_scipy(size):
    found = field_of_struct(like_sbd(made_up(*size)), "GTcls", "Segmentation")
    np.testing.assert_array_equal(found, made_up(*size))
    assert found.dtype == np.uint8 and found.flags.c_contiguous and found.flags.writeable


OTHERS = {
    "not compressed": like_sbd(made_up(4, 6), compressed=False),
    "two variables": like_sbd(made_up(4, 6), GTinst=1),
    "trailing bytes": like_sbd(made_up(4, 6)) + bytes(8),
    "logical": like_sbd(made_up(4, 6) > 3),
    "int16": like_sbd(made_up(4, 6).astype(np.int16)),
    "three axes": like_sbd(made_up(4, 6)).replace(b"IM", b"MI", 1),
}


@pytest.mark.parametrize("file", OTHERS.values(), ids=OTHERS)
def test_files_unlike_sbds_are_left_to_scipy(file):
    with pytest.raises(UnlikeSbdError):
        field_of_struct(file, "GTcls", "Segmentation")


@pytest.mark.parametrize("kind", ["not compressed", "two variables"])
def test_labels_of_such_files_are_read_anyway(kind, tmp_path):
    (tmp_path / "a.mat").write_bytes(OTHERS[kind])
    np.testing.assert_array_equal(read_label_mat(tmp_path / "a.mat"), made_up(4, 6))


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(first: int, *parts: bytes) -> bytes:
    return element(14, element(6, struct.pack("<II", first, 0)) + b"".join(parts))


def packed(content: bytes) -> bytes:
    small = zlib.compress(content)
    return struct.pack("<II", 15, len(small)) + small


MOST = 2**16
STRING = matrix(17, *(element(1, word) for word in (b"s", b"MCOS", b"string")), matrix(13))
LARGE = matrix(
    9, element(5, struct.pack("<ii", 1, MOST)) + element(1, b"a"), element(2, bytes(MOST))
)
BEFORE = {"string": STRING, "packed string": packed(STRING), "large": packed(LARGE)}


@pytest.mark.parametrize("before", BEFORE)
def test_variables_before_a_label_are_skipped(before, tmp_path, monkeypatch):
    monkeypatch.setattr("fcnexp.data.mat.MOST", MOST)
    whole = like_sbd(made_up(9, 12))
    (tmp_path / "a.mat").write_bytes(whole[:128] + BEFORE[before] + whole[128:])
    np.testing.assert_array_equal(read_label_mat(tmp_path / "a.mat"), made_up(9, 12))


def test_damaged_head_before_a_label_is_refused(tmp_path):
    whole = like_sbd(made_up(9, 12))
    for before in (matrix(9, element(5, bytes(8))), packed(LARGE[:40]), packed(STRING[:10])):
        (tmp_path / "a.mat").write_bytes(whole[:128] + before + whole[128:])
        with pytest.raises(DataError, match=r"a\.mat"):
            read_label_mat(tmp_path / "a.mat")


def test_other_names_are_not_found():
    for variable, field in (("GTinst", "Segmentation"), ("GTcls", "Labels")):
        with pytest.raises(UnlikeSbdError):
            field_of_struct(like_sbd(made_up(4, 6)), variable, field)


def test_every_truncation_is_refused(tmp_path):
    label, path = made_up(9, 12), tmp_path / "a.mat"
    whole = like_sbd(label)
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place])
        with pytest.raises(DataError, match=r"a\.mat"):
            read_label_mat(path)


def test_flipped_bit_is_found_by_the_checksum():
    whole = bytearray(like_sbd(made_up(9, 12)))
    whole[-1] ^= 1
    with pytest.raises(zlib.error):
        field_of_struct(bytes(whole), "GTcls", "Segmentation")


@pytest.mark.real_data
def test_all_real_labels_are_read_without_scipy(shared_data):
    paths = sorted((shared_data / "sbd/cls").glob("*.mat"))
    for path in paths:
        theirs = scipy.io.loadmat(path)["GTcls"][0]["Segmentation"][0]
        ours = field_of_struct(path.read_bytes(), "GTcls", "Segmentation")
        np.testing.assert_array_equal(ours, theirs)
    assert len(paths) == 407
