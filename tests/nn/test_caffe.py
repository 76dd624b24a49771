import re
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fcnexp.errors import WeightsError
from fcnexp.nn.caffe import MAX_FIELDS, read_caffemodel

sys.path.insert(0, str(Path(__file__).parents[1]))
import caffe_files as write  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
GOOGLENET = DATA / "weights" / "bvlc_googlenet.caffemodel"

# net {name: "n" layer {name: "c" type: "T" blobs {shape {dim: 1 dim: 2} data: 1 data: -2}}}
V2_FILE = bytes.fromhex("0a016e a20618 0a0163 120154 3a10 3a040a020102 2a08 0000803f 000000c0")
# net {layers {name: "c" type: CONVOLUTION blobs {num: 1 channels: 1 height: 1 width: 2 data ..}}}
V1_FILE = bytes.fromhex("1219 220163 2804 3212 0801 1001 1801 2002 2a08 0000803f 000000c0")


def random_blobs() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    shapes = {"conv1/7x7_s2": [(3, 2, 1, 4), (3,)], "fc": [(3, 6), (3,)], "bn": [(2,), (2,), (1,)]}
    return {
        name: [rng.normal(size=shape).astype(np.float32) for shape in blobs]
        for name, blobs in shapes.items()
    }


def save(folder: Path, content: bytes) -> Path:
    path = folder / "net.caffemodel"
    path.unlink(missing_ok=True)  # ext4 writes a new file many times faster than over an old one
    path.write_bytes(content)
    return path


def read_octets(folder: Path, content: bytes) -> dict[str, list[np.ndarray]]:
    return read_caffemodel(save(folder, content))


def one_blob(blob: bytes, name: bytes = b"conv1") -> bytes:
    """A V2 net of one layer with this one encoded blob."""
    return write.octets(100, write.octets(1, name) + write.octets(7, blob))


def shaped(*dims: int) -> bytes:
    """An encoded blob of that shape and two values."""
    packed = b"".join(write.varint(dim) for dim in dims)
    return write.octets(7, write.octets(1, packed)) + write.octets(5, bytes(8))


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


def test_todays_format_round_trips_from_a_path_as_text(tmp_path):
    write.write_caffemodel(tmp_path / "a.caffemodel", random_blobs())
    assert_same(read_caffemodel(str(tmp_path / "a.caffemodel")), random_blobs())


def test_old_format_keeps_four_axes(tmp_path):
    write.write_caffemodel_v1(tmp_path / "a.caffemodel", random_blobs())
    blobs = read_caffemodel(tmp_path / "a.caffemodel")
    assert [array.shape for array in blobs["fc"]] == [(1, 1, 3, 6), (1, 1, 1, 3)]
    np.testing.assert_array_equal(blobs["fc"][0][0, 0], random_blobs()["fc"][0])


def test_arrays_are_native_float32_and_ours_to_write(tmp_path):
    for encode in (write.packed_blob, write.unpacked_blob, write.double_blob):
        blobs = read_octets(tmp_path, write.net_v2(random_blobs(), encode))
        for array in sum(blobs.values(), []):
            assert array.dtype == np.float32 and array.dtype.isnative
            assert array.flags.writeable and array.flags.c_contiguous and array.flags.aligned


def test_layers_without_blobs_and_other_fields_are_stepped_over(tmp_path):
    relu = write.octets(100, write.octets(1, b"relu") + write.integer(10, 1))
    other = write.octets(6, b"\xff" * 9) + b"\x3d" + bytes(4) + b"\x39" + bytes(8) + bytes([72, 1])
    diff = write.octets(6, bytes(8)) + write.octets(9, bytes(16))
    content = relu + other + one_blob(diff + shaped(2)) + relu
    assert_same(read_octets(tmp_path, content), {"conv1": [np.zeros(2, np.float32)]})


def test_name_may_follow_blobs_and_data_may_come_in_parts(tmp_path):
    data = write.octets(5, V2_FILE[-8:-4]) + b"\x2d" + V2_FILE[-4:]
    blob = data + write.octets(7, write.integer(1, 1) + write.octets(1, b"\2"))
    content = write.octets(100, write.octets(7, blob) + write.octets(1, b"c"))
    assert_same(read_octets(tmp_path, content), read_octets(tmp_path, V2_FILE))


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 8, 11])
def test_unpacked_data_ends_where_diff_of_the_same_size_begins(tmp_path, num):
    values = np.arange(2 * num, dtype="<f4")
    data = b"".join(b"\x2d" + value.tobytes() for value in values)
    diff = (b"\x35" + bytes(4)) * num
    blob = write.octets(7, write.integer(1, 2 * num)) + data[: 5 * num] + diff + data[5 * num :]
    assert_same(read_octets(tmp_path, one_blob(blob + diff)), {"conv1": [values]})


def test_blob_without_shape_is_a_scalar(tmp_path):
    blobs = read_octets(tmp_path, one_blob(write.octets(5, V2_FILE[-4:])))
    assert_same(blobs, {"conv1": [np.array(-2, np.float32)]})


def test_old_dimensions_outweigh_shape(tmp_path):  # Blob::FromProto
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


@pytest.mark.parametrize("content", [V1_FILE, V2_FILE, write.net_v2(random_blobs())])
def test_flipped_octets_give_arrays_or_weights_error(tmp_path, content):
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(2000):
        damaged = np.frombuffer(content, np.uint8).copy()
        at = rng.integers(len(damaged), size=rng.integers(1, 4))
        damaged[at] ^= rng.integers(1, 256, size=len(at), dtype=np.uint8)
        start = time.monotonic()
        try:
            blobs = read_octets(tmp_path, damaged.tobytes())
        except WeightsError as error:
            assert "net.caffemodel" in str(error)
            refused += 1
        else:
            arrays = [array for layer in blobs.values() for array in layer]
            assert arrays and all(array.dtype == np.float32 for array in arrays)
        assert time.monotonic() - start < 5
    assert 0 < refused < 2000


HUGE = write.varint(2**62)
BAD_CONTENT = {
    "zeros": (bytes(100), "no field 0 of wire type 0 can be at offset 0"),
    "group": (b"\x0b\x06", "no field 1 of wire type 3 can be at offset 0"),
    "groups in groups": (b"\xa3\x06" * 10_000, "no field 100 of wire type 3"),
    "wire type 7": (V2_FILE + b"\x0f", f"wire type 7 can be at offset {len(V2_FILE)}"),
    "field number too large": (write.varint(2**33) + b"\x06", "no field 1073741824"),
    "varint too long": (
        V2_FILE + b"\x20" + b"\xff" * 10 + b"\1",
        "a varint of over 10 bytes at offset 31",
    ),
    "varint cut": (V2_FILE + b"\x20\xff", "wanted 1 bytes at offset 32, file has 32"),
    "float cut": (V2_FILE + b"\x3d\0\0", "wanted 4 bytes at offset 31, file has 33"),
    "layer cut": (V2_FILE[:-1], "wanted 24 bytes at offset 6, file has 29"),
    "huge length": (b"\xa2\x06" + HUGE, f"wanted {2**62} bytes at offset 11, file has 11"),
    "blob past its layer": (
        write.octets(100, write.octets(1, b"c") + b"\x3a\x09") + bytes(9),
        "wanted 9 bytes at offset 8, the message around it ends at 8",
    ),
    "data past its blob": (one_blob(b"\x2a\x04") + bytes(4), "the message around it ends at 14"),
    "layer is a number": (b"\xa0\x06\x01", "field 100 at offset 2 has wire type 0, not 2"),
    "name is a number": (write.octets(100, write.integer(1, 5)), "field 1 .* wire type 0, not 2"),
    "blob is a number": (write.octets(100, write.integer(7, 5)), "field 7 .* wire type 0, not 2"),
    "data is a number": (one_blob(write.integer(5, 5)), "field 5 .* wire type 0, not 2 or 5"),
    "data is double": (one_blob(b"\x29" + bytes(8)), "field 5 .* wire type 1, not 2 or 5"),
    "dim is a float": (one_blob(write.octets(7, b"\x0d\0\0\0\0")), "field 1 .* type 5, not 0 or 2"),
    "old dim packed": (one_blob(write.octets(1, b"\1")), "field 1 .* wire type 2, not 0"),
    "odd data": (one_blob(write.octets(5, bytes(7))), "7 bytes of 4-byte values at offset 14"),
    "odd doubles": (one_blob(write.octets(8, bytes(9))), "9 bytes of 8-byte values at offset 14"),
    "too few values": (
        one_blob(shaped(3)),
        r"layer 'conv1', blob 0 of shape \(3,\) holds 2 values",
    ),
    "no values": (one_blob(b""), r"layer 'conv1', blob 0 of shape \(\) holds 0 values"),
    "negative dims": (one_blob(shaped(-1, -2)), r"shape \(-1, -2\) holds 2"),
    "zero dim": (one_blob(shaped(0, 2**31 - 1)), r"shape \(0, 2147483647\) holds 2"),
    "dims overflow to 2": (one_blob(shaped(2**62, 4, 2)), "holds 2 values"),
    "old dims missing": (one_blob(write.integer(1, 2) + shaped(2)), r"\(2, 0, 0, 0\) holds 2"),
    "old dim negative": (one_blob(write.integer(1, -2) + shaped(2)), r"\(-2, 0, 0, 0\) holds"),
    "many axes": (one_blob(shaped(*[1] * 33)), "layer 'conv1', blob 0 has over 32 axes"),
    "two kinds of data": (one_blob(shaped(2) + write.octets(8, bytes(16))), "holds 4 values"),
    "NaN": (one_blob(write.octets(5, b"\0\0\xc0\x7f")), "layer 'conv1', blob 0 holds NaN"),
    "double too large": (one_blob(write.octets(8, b"\xff" * 6 + b"\xef\x7f")), "or infinity"),
    "name not UTF-8": (
        one_blob(shaped(2), b"\xff\xfe"),
        r"name of layer b'\\xff\\xfe' at offset 3",
    ),
    "no name": (one_blob(shaped(2), b""), "the layer at offset 3 has blobs but no name"),
    "two layers of one name": (V2_FILE * 2, "two layers named 'c' have blobs"),
    "too many fields": (V2_FILE + b"\x20\0" * MAX_FIELDS, f"over {MAX_FIELDS} fields"),
}


@pytest.mark.parametrize(("content", "message"), BAD_CONTENT.values(), ids=BAD_CONTENT)
def test_damage_is_named_with_file_place_and_advice(tmp_path, content, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read_octets(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'net.caffemodel'} is damaged or cut short (")
    assert str(caught.value).endswith("): fetch it again")


OTHER_CONTENT = {
    "empty": (b"", "is empty: fetch it again"),
    "prototxt": (b'name: "FCN"\nlayer {\n}\n', "is text ('name: .*give the .caffemodel"),
    "web page": (b"<!DOCTYPE html>\r\n<html>\xc3\xa9", "is text ('<!DOCTYPE.*fetch it again"),
    "torch": (b"PK\x03\x04" + bytes(50), "is no binary .caffemodel but a torch file: give its"),
    "old torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9", "but a torch file: give its .caffemodel, or"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "but HDF5: save .* snapshot_format: BINARYPROTO"),
    "no weights": (write.net_v2({"conv1": []}), "has no layer with blobs: give a trained"),
    "V0": (
        write.octets(2, write.octets(1, write.octets(50, shaped(2)))),
        "V0 format of 2013: rewrite it with Caffe's upgrade_net_proto_binary",
    ),
    "NVIDIA": (
        one_blob(write.integer(10, 2) + write.octets(12, bytes(4))),
        "layer 'conv1', blob 0 is in NVIDIA Caffe's raw_data: .* store_blobs_in_old_format: true",
    ),
}


@pytest.mark.parametrize(("content", "message"), OTHER_CONTENT.values(), ids=OTHER_CONTENT)
def test_other_files_are_told_apart(tmp_path, content, message):
    path = save(tmp_path, content)
    with pytest.raises(
        WeightsError, match=re.escape(str(path)) + ".*" + message.replace("(", r"\(")
    ):
        read_caffemodel(path)


def test_missing_file_and_folder_have_own_messages(tmp_path):
    with pytest.raises(WeightsError, match="absent.caffemodel does not exist: fetch it or correct"):
        read_caffemodel(tmp_path / "absent.caffemodel")
    with pytest.raises(WeightsError, match="is a folder: give the .caffemodel file itself"):
        read_caffemodel(tmp_path)
    with pytest.raises(WeightsError, match=r"cannot be read \(File name too long\)"):
        read_caffemodel(tmp_path / ("a" * 300))


def test_over_two_gigabytes_is_refused_unread(tmp_path):
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


@pytest.mark.parametrize("junk", [b"\x20\0", b"\x3d\0\0\0\0\x20\0", b"\x12\0", b"\xa2\x06\0"])
def test_a_file_of_junk_fields_ends_soon(tmp_path, junk):
    path = save(tmp_path, V2_FILE + junk * (20_000_000 // len(junk)))
    start = time.monotonic()
    with pytest.raises(WeightsError, match=f"over {MAX_FIELDS} fields"):
        read_caffemodel(path)
    assert time.monotonic() - start < 5


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
    with pytest.raises(WeightsError, match=r"wanted \d+ bytes at offset \d+, file has \d+\)"):
        read_octets(tmp_path, content[: len(content) // 2])
