"""Every encoding of a `.caffemodel` is read to the same arrays."""

import time
import tracemalloc
from pathlib import Path

import caffe_files as write
import numpy as np
import pytest
from caffe_files import V1_FILE, V2_FILE, one_blob, save, shaped
from places import SHARED

from fcnexp.errors import WeightsError
from fcnexp.nn.weights.caffe import read_caffemodel

GOOGLENET = SHARED / "data/weights/bvlc_googlenet.caffemodel"


def random_blobs() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    shapes = {"conv1/7x7_s2": [(3, 2, 1, 4), (3,)], "fc": [(3, 6), (3,)], "bn": [(2,), (2,), (1,)]}
    return {
        name: [rng.normal(size=shape).astype(np.float32) for shape in blobs]
        for name, blobs in shapes.items()
    }


def read_octets(folder: Path, content: bytes) -> dict[str, list[np.ndarray]]:
    return read_caffemodel(save(folder, content))


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, arrays in wanted.items():
        assert len(found[name]) == len(arrays)
        for array, truth in zip(found[name], arrays, strict=True):
            np.testing.assert_array_equal(array, truth, strict=True)


@pytest.mark.parametrize(
    ("content", "shape"), [(V2_FILE, (1, 2)), (V1_FILE, (1, 1, 1, 2))], ids=["v2", "v1"]
)
def test_reads_octets_written_by_hand(tmp_path, content, shape):
    blobs = read_octets(tmp_path, content)
    assert_same(blobs, {"c": [np.array([1, -2], np.float32).reshape(shape)]})


@pytest.mark.parametrize(
    "encode",
    [write.packed_blob, write.unpacked_blob, write.double_blob, write.unpacked_double_blob],
)
@pytest.mark.parametrize("net", [write.net_v1, write.net_v2])
def test_every_encoding_of_values_reads_the_same(tmp_path, net, encode):
    assert_same(read_octets(tmp_path, net(random_blobs(), encode)), random_blobs())


def test_v2_format_round_trips_from_a_path_as_string(tmp_path):
    write.write_caffemodel(tmp_path / "a.caffemodel", random_blobs())
    assert_same(read_caffemodel(str(tmp_path / "a.caffemodel")), random_blobs())


def test_v1_format_keeps_four_axes(tmp_path):
    write.write_caffemodel_v1(tmp_path / "a.caffemodel", random_blobs())
    blobs = read_caffemodel(tmp_path / "a.caffemodel")
    assert [array.shape for array in blobs["fc"]] == [(1, 1, 3, 6), (1, 1, 1, 3)]
    np.testing.assert_array_equal(blobs["fc"][0][0, 0], random_blobs()["fc"][0])


def test_arrays_are_native_writable_float32(tmp_path):
    for encode in (write.packed_blob, write.unpacked_blob, write.double_blob):
        blobs = read_octets(tmp_path, write.net_v2(random_blobs(), encode))
        for array in sum(blobs.values(), []):
            assert array.dtype == np.float32 and array.dtype.isnative
            assert array.flags.writeable and array.flags.c_contiguous and array.flags.aligned


def test_layers_without_blobs_and_other_fields_are_skipped(tmp_path):
    relu = write.octets(100, write.octets(1, b"relu") + write.integer(10, 1))
    other = write.octets(6, b"\xff" * 9) + b"\x3d" + bytes(4) + b"\x39" + bytes(8) + bytes([72, 1])
    diff = write.octets(6, bytes(8)) + write.octets(9, bytes(16))
    content = relu + other + one_blob(diff + shaped(2)) + relu
    assert_same(read_octets(tmp_path, content), {"conv1": [np.zeros(2, np.float32)]})


def test_name_may_follow_blobs_and_data_may_be_split(tmp_path):
    data = write.octets(5, V2_FILE[-8:-4]) + b"\x2d" + V2_FILE[-4:]
    blob = data + write.octets(7, write.integer(1, 1) + write.octets(1, b"\2"))
    content = write.octets(100, write.octets(7, blob) + write.octets(1, b"c"))
    assert_same(read_octets(tmp_path, content), read_octets(tmp_path, V2_FILE))


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 8, 11])
def test_unpacked_data_is_told_apart_from_diff_of_the_same_size(tmp_path, num):
    values = np.arange(2 * num, dtype="<f4")
    data = b"".join(b"\x2d" + value.tobytes() for value in values)
    diff = (b"\x35" + bytes(4)) * num
    blob = write.octets(7, write.integer(1, 2 * num)) + data[: 5 * num] + diff + data[5 * num :]
    assert_same(read_octets(tmp_path, one_blob(blob + diff)), {"conv1": [values]})


def test_blob_without_shape_is_a_scalar(tmp_path):
    blobs = read_octets(tmp_path, one_blob(write.octets(5, V2_FILE[-4:])))
    assert_same(blobs, {"conv1": [np.array(-2, np.float32)]})


def test_old_dimensions_override_shape(tmp_path):  # Blob::FromProto
    old = b"".join(write.integer(axis, dim) for axis, dim in ((1, 2), (2, 1), (3, 1), (4, 1)))
    assert read_octets(tmp_path, one_blob(shaped(2) + old))["conv1"][0].shape == (2, 1, 1, 1)


@pytest.mark.parametrize("net", [write.net_v1, write.net_v2])
def test_a_file_cut_anywhere_is_refused_or_gives_its_first_layers(tmp_path, net):
    content = net(random_blobs())
    whole = read_octets(tmp_path, content)
    read = []
    for length in range(len(content)):
        try:
            found = read_octets(tmp_path, content[:length])
        except WeightsError as error:
            assert "net.caffemodel" in str(error)
        else:
            assert_same(found, {name: whole[name] for name in list(whole)[: len(found)]})
            read.append(len(found))
    assert read == [1, 2]  # exactly the cuts between two layers


def test_peak_memory_is_twice_the_file(tmp_path):
    path = save(tmp_path, write.net_v2({"fc": [np.ones((1000, 2000), np.float32)]}))
    tracemalloc.start()
    read_caffemodel(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.05 * path.stat().st_size


def test_a_million_unpacked_values_read_within_a_second(tmp_path):
    values = np.arange(1_000_003, dtype="<f4")
    records = np.empty(len(values), [("tag", "u1"), ("value", "<f4")])
    records["tag"], records["value"] = 0x2D, values
    shape = write.octets(7, write.integer(1, len(values)))
    path = save(tmp_path, one_blob(shape + records.tobytes()))
    start = time.monotonic()
    np.testing.assert_array_equal(read_caffemodel(path)["conv1"][0], values)
    assert time.monotonic() - start < 1


needs_googlenet = pytest.mark.skipif(not GOOGLENET.is_file(), reason=f"{GOOGLENET} is absent")


@pytest.mark.real_data
@needs_googlenet
def test_googlenet_has_its_layers_and_seven_million_parameters():
    blobs = read_caffemodel(GOOGLENET)
    assert len(blobs) == 58  # 3 + 9 modules of 6 + the classifier, no auxiliary heads
    assert [array.shape for array in blobs["conv1/7x7_s2"]] == [(64, 3, 7, 7), (64,)]
    assert [array.shape for array in blobs["inception_5b/5x5"]] == [(128, 48, 5, 5), (128,)]
    assert [array.shape for array in blobs["loss3/classifier"]] == [(1000, 1024), (1000,)]
    assert list(blobs)[:2] == ["conv1/7x7_s2", "conv2/3x3_reduce"]
    assert list(blobs)[-1] == "loss3/classifier"
    assert sum(array.size for arrays in blobs.values() for array in arrays) == 6_998_552


@pytest.mark.real_data
@needs_googlenet
def test_googlenet_written_again_reads_the_same(tmp_path):
    blobs = read_caffemodel(GOOGLENET)
    write.write_caffemodel(tmp_path / "again.caffemodel", blobs)
    assert_same(read_caffemodel(tmp_path / "again.caffemodel"), blobs)


@pytest.mark.real_data
@needs_googlenet
def test_googlenet_cut_in_the_middle_is_refused(tmp_path):
    content = GOOGLENET.read_bytes()
    with pytest.raises(WeightsError, match=r"needed \d+ bytes at offset \d+, file has \d+\)"):
        read_octets(tmp_path, content[: len(content) // 2])
