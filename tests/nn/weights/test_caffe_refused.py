"""Damaged `.caffemodel` files and other files are refused with the place and a remedy."""

import re
import time
import tracemalloc

import pytest
from bad_caffemodels import BAD_CONTENT, OTHER_CONTENT
from caffe_files import V2_FILE, one_blob, save, shaped

from fcnexp.errors import WeightsError
from fcnexp.nn.weights.caffe import MAX_FIELDS, read_caffemodel


@pytest.mark.parametrize(("content", "message"), BAD_CONTENT.values(), ids=BAD_CONTENT)
def test_error_on_damage_names_file_place_and_remedy(tmp_path, content, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read_caffemodel(save(tmp_path, content))
    assert str(caught.value).startswith(f"{tmp_path / 'net.caffemodel'} is damaged or cut short (")
    assert str(caught.value).endswith("): fetch it again")


@pytest.mark.parametrize(("content", "message"), OTHER_CONTENT.values(), ids=OTHER_CONTENT)
def test_other_file_formats_are_recognised(tmp_path, content, message):
    path = save(tmp_path, content)
    with pytest.raises(
        WeightsError, match=re.escape(str(path)) + ".*" + message.replace("(", r"\(")
    ):
        read_caffemodel(path)


def test_missing_files_and_folders_have_their_own_messages(tmp_path):
    with pytest.raises(WeightsError, match="absent.caffemodel does not exist: fetch it or correct"):
        read_caffemodel(tmp_path / "absent.caffemodel")
    with pytest.raises(WeightsError, match="is a folder: give the .caffemodel file itself"):
        read_caffemodel(tmp_path)
    with pytest.raises(WeightsError, match=r"cannot be read \(File name too long\)"):
        read_caffemodel(tmp_path / ("a" * 300))


def test_files_over_two_gigabytes_are_refused_without_reading(tmp_path):
    path = tmp_path / "net.caffemodel"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse
    with pytest.raises(WeightsError, match="over Caffe's limit of 2 GiB"):
        read_caffemodel(path)


@pytest.mark.parametrize("dims", [(2**31 - 1,) * 4, (10**9,), (2**63 - 1, 2**63 - 1)])
def test_giant_shapes_allocate_nothing(tmp_path, dims):
    path = save(tmp_path, one_blob(shaped(*dims)))
    tracemalloc.start()
    with pytest.raises(WeightsError, match="holds 2 values"):
        read_caffemodel(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize("junk", [b"\x20\0", b"\x3d\0\0\0\0\x20\0", b"\x12\0", b"\xa2\x06\0"])
def test_a_file_of_junk_fields_is_refused_quickly(tmp_path, junk):
    path = save(tmp_path, V2_FILE + junk * (20_000_000 // len(junk)))
    start = time.monotonic()
    with pytest.raises(WeightsError, match=f"over {MAX_FIELDS} fields"):
        read_caffemodel(path)
    assert time.monotonic() - start < 5
