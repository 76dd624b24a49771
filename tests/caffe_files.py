"""Binary `.caffemodel` files written octet by octet, in every format that Caffe has used.

Field numbers: BVLC `caffe.proto`. A layer's blobs are given as {name: [array, ...]}.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

Blobs = dict[str, list[np.ndarray]]

# net {name: "n" layer {name: "c" type: "T" blobs {shape {dim: 1 dim: 2} data: 1 data: -2}}}
V2_FILE = bytes.fromhex("0a016e a20618 0a0163 120154 3a10 3a040a020102 2a08 0000803f 000000c0")
# net {layers {name: "c" type: CONVOLUTION blobs {num: 1 channels: 1 height: 1 width: 2 data ..}}}
V1_FILE = bytes.fromhex("1219 220163 2804 3212 0801 1001 1801 2002 2a08 0000803f 000000c0")


def write_caffemodel(path: Path | str, blobs: Blobs) -> None:
    """Write today's format: V2 layers, packed float32, shapes of any rank."""
    Path(path).write_bytes(net_v2(blobs))


def write_caffemodel_v1(path: Path | str, blobs: Blobs) -> None:
    """Write Caffe's format until 2014, e.g. of VGG16: V1 layers, four axes for every blob."""
    Path(path).write_bytes(net_v1(blobs))


def save(folder: Path, content: bytes) -> Path:
    """Write `net.caffemodel` with this content to a folder."""
    path = folder / "net.caffemodel"
    path.unlink(missing_ok=True)  # ext4 creates a file many times faster than it overwrites one
    path.write_bytes(content)
    return path


def net_v2(blobs: Blobs, encode: Callable[[np.ndarray], bytes] | None = None) -> bytes:
    encode = encode or packed_blob
    net = octets(1, b"net")
    for name, arrays in blobs.items():
        kind = b"Convolution" if arrays and arrays[0].ndim == 4 else b"InnerProduct"
        layer = octets(1, name.encode()) + octets(2, kind)
        net += octets(100, layer + b"".join(octets(7, encode(array)) for array in arrays))
    return net


def net_v1(blobs: Blobs, encode: Callable[[np.ndarray], bytes] | None = None) -> bytes:
    encode = encode or legacy_blob
    net = octets(1, b"net")
    for name, arrays in blobs.items():
        layer = octets(2, b"bottom") + octets(4, name.encode()) + integer(5, 4)  # 4: CONVOLUTION
        net += octets(2, layer + b"".join(octets(6, encode(array)) for array in arrays))
    return net


def one_blob(blob: bytes, name: bytes = b"conv1") -> bytes:
    """V2 net with one layer that holds one encoded blob."""
    return octets(100, octets(1, name) + octets(7, blob))


def shaped(*dims: int) -> bytes:
    """Encoded blob with this shape and two values."""
    packed = b"".join(varint(dim) for dim in dims)
    return octets(7, octets(1, packed)) + octets(5, bytes(8))


def packed_blob(array: np.ndarray) -> bytes:
    return octets(7, octets(1, dims(array))) + octets(5, array.astype("<f4").tobytes())


def unpacked_blob(array: np.ndarray) -> bytes:
    shape = b"".join(integer(1, dim) for dim in array.shape)
    return octets(7, shape) + b"".join(b"\x2d" + struct.pack("<f", v) for v in array.flat)


def double_blob(array: np.ndarray) -> bytes:
    return octets(7, octets(1, dims(array))) + octets(8, array.astype("<f8").tobytes())


def unpacked_double_blob(array: np.ndarray) -> bytes:
    values = b"".join(b"\x41" + struct.pack("<d", v) for v in array.flat)
    return octets(7, octets(1, dims(array))) + values


def legacy_blob(array: np.ndarray) -> bytes:
    """The four old dimensions, with leading ones, and the data."""
    shape = (1,) * (4 - array.ndim) + array.shape
    old = b"".join(integer(axis, dim) for axis, dim in enumerate(shape, start=1))
    return old + octets(5, array.astype("<f4").tobytes())


def dims(array: np.ndarray) -> bytes:
    return b"".join(varint(dim) for dim in array.shape)


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def octets(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Encode an integer; negative values take ten octets, as in protobuf."""
    value %= 2**64
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])
