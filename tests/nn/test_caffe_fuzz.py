"""A damaged `.caffemodel` is refused with a typed error, or read as protobuf itself reads it."""

import time
import tracemalloc

import caffe_files as write
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from fcnexp.errors import WeightsError
from fcnexp.nn.caffe import read_caffemodel

FLIPS, CUTS, SECONDS, BYTES = 2000, 50, 5, 10**9
# Of caffe.proto what a reader of weights needs: message, field, number, type; * is repeated.
PROTO = """
    Shape dim* 1 int64
    Blob num 1 int32 | channels 2 int32 | height 3 int32 | width 4 int32 | data* 5 float
    Blob shape 7 Shape | double_data* 8 double
    Layer name 1 bytes | blobs* 7 Blob
    OldLayer name 4 bytes | blobs* 6 Blob
    Net layer* 100 Layer | layers* 2 OldLayer
"""


def protobuf_net():
    """Protobuf's own reader of these messages. Names are octets, since we check UTF-8 ourselves."""
    file = descriptor_pb2.FileDescriptorProto(name="caffe_part.proto", package="part")
    messages = {}
    for line in PROTO.split("\n"):
        owner, _, fields = line.strip().partition(" ")
        for words in filter(None, (f.split() for f in fields.split("|"))):
            if owner not in messages:
                messages[owner] = file.message_type.add(name=owner)
            field = messages[owner].field.add(name=words[0].strip("*"), number=int(words[1]))
            field.label = field.LABEL_REPEATED if "*" in words[0] else field.LABEL_OPTIONAL
            if words[2][0].isupper():
                field.type, field.type_name = field.TYPE_MESSAGE, f".part.{words[2]}"
            else:
                field.type = getattr(field, f"TYPE_{words[2].upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("part.Net"))


NET = protobuf_net()


def as_protobuf_reads(content: bytes) -> dict[str, list[np.ndarray]]:
    net = NET.FromString(content)
    found = {}
    for layer in [*net.layer, *net.layers]:
        arrays = []
        for blob in layer.blobs:
            old = [axis for axis in ("num", "channels", "height", "width") if blob.HasField(axis)]
            shape = [blob.num, blob.channels, blob.height, blob.width] if old else blob.shape.dim
            values = list(blob.data) or list(blob.double_data)
            arrays.append(np.array(values, np.float32).reshape(tuple(shape)))
        if arrays:
            found[layer.name.decode()] = arrays
    return found


def small_file(form: str) -> bytes:
    rng = np.random.default_rng(0)
    shapes = {
        "conv1": [(2, 3, 3, 3), (2,)],
        "fc6": [(4, 18), (4,)],
        "score_fr": [(3, 4, 1, 1), (3,)],
    }
    blobs = {n: [rng.normal(size=s).astype(np.float32) for s in each] for n, each in shapes.items()}
    return write.net_v2(blobs) if form == "v2" else write.net_v1(blobs)


def read(folder, content: bytes) -> dict[str, list[np.ndarray]] | None:
    """What our reader makes of it, in time and in little memory; None where it refuses."""
    path = folder / "net.caffemodel"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    tracemalloc.reset_peak()
    start = time.monotonic()
    try:
        return read_caffemodel(path)
    except WeightsError as error:
        assert str(path) in str(error)
        return None
    finally:
        assert time.monotonic() - start < SECONDS
        assert tracemalloc.get_traced_memory()[1] < BYTES


def agrees(ours: dict[str, list[np.ndarray]], content: bytes) -> None:
    theirs = as_protobuf_reads(content)
    assert list(ours) == list(theirs)
    for name, arrays in ours.items():
        for array, other in zip(arrays, theirs[name], strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.fixture(autouse=True)
def measured():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("form", ["v1", "v2"])
def test_flipped_bytes(form, tmp_path):
    """2,000 files with one byte changed, half of them in the parts that are not weights."""
    whole, rng = small_file(form), np.random.default_rng(1)
    readable = 0
    for i in range(FLIPS // 2):
        content = bytearray(whole)
        place = (
            int(rng.integers(len(content))) if i % 2 else int(rng.integers(min(60, len(content))))
        )
        content[place] ^= int(rng.integers(1, 256))
        ours = read(tmp_path, bytes(content))
        if ours is not None:
            agrees(ours, bytes(content))
            readable += 1
    assert FLIPS // 8 < readable < FLIPS // 2  # both ends were met


@pytest.mark.parametrize("form", ["v1", "v2"])
def test_cut_files(form, tmp_path):
    whole = small_file(form)
    for place in np.linspace(0, len(whole) - 1, CUTS // 2).astype(int).tolist():
        ours = read(tmp_path, whole[:place])
        if ours is not None:
            agrees(ours, whole[:place])
            assert len(ours) < 3


def test_protobufs_reader_here_is_right():
    for form in ("v1", "v2"):
        found = as_protobuf_reads(small_file(form))
        assert list(found) == ["conv1", "fc6", "score_fr"] and found["conv1"][0].size == 54
    with pytest.raises(DecodeError):
        NET.FromString(b"\xa2\x06\x05abc")
