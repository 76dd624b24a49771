"""Weights of a binary `.caffemodel`, read without Caffe by a small protobuf reader.

Such a file is one protobuf message: a net of layers, a layer of blobs, a blob of floats. Only
these three levels are parsed; all other fields are skipped. Field numbers: BVLC `caffe.proto`.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcnexp.errors import WeightsError
from fcnexp.system.os_errors import reraise_system_error

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types; Caffe never writes 3 and 4
FIXED_SIZE = {FIXED64: 8, FIXED32: 4}
LAYER = {100: (1, 7), 2: (4, 6)}  # NetParameter.layer (V2), .layers (V1): their name, blobs fields
MAX_AXES = 32  # kMaxBlobAxes
MAX_DIM = 2**31 - 1  # Caffe stores dimensions as int
MAX_BYTES = 2**31 - 1  # protobuf's limit for one message, hence Caffe's for one file
MAX_FIELDS = 200_000  # bounds time and memory; GoogLeNet has 639
TORCH = "a torch file: give its .caffemodel, or load it by torch.load"
OTHER_FORMATS = {  # by first octets; no NetParameter starts with these
    b"PK\x03\x04": TORCH,  # a zip
    b"\x80\x02": TORCH,  # a pickle, before torch 1.6
    b"\x89HDF": "HDF5: save it from Caffe again with snapshot_format: BINARYPROTO",
}


def read_caffemodel(path: Path | str) -> dict[str, list[np.ndarray]]:
    """Read the blobs of each layer that has any, by layer name in file order.

    Writable float32 arrays in Caffe's shapes, e.g. convolution (out, in, kh, kw) and bias (out,);
    the V1 format keeps four axes for all, e.g. (1, 1, out, in). Holds both file and arrays in
    memory. A file cut exactly between two layers reads as the layers before the cut.
    Raises WeightsError if the file is missing, damaged or not a caffemodel.
    """
    path = Path(path)
    net = _Message(path, _content(path))
    blobs: dict[str, list[np.ndarray]] = {}
    for field in net.fields(0, len(net.data)):
        if field.number not in LAYER:
            continue
        name, arrays = _read_layer(net, field)
        if arrays and name in blobs:
            raise net.damaged(f"two layers named {name[:80]!r} have blobs")
        if arrays:
            blobs[name] = arrays
    if not blobs:
        raise WeightsError(f"{path} has no layer with blobs: give a trained .caffemodel")
    return blobs


class _Field(NamedTuple):
    """One protobuf field, with its payload in data[start:stop]."""

    number: int
    wire: int
    start: int
    stop: int
    value: int  # VARINT: the value; FIXED: number of identical consecutive fields in this one


class _Message:
    """Reader of protobuf's wire format that checks each step against the enclosing message."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path, self.data, self.num_fields = path, data, 0
        self.octets = np.frombuffer(data, np.uint8)

    def damaged(self, what: str) -> WeightsError:
        return WeightsError(f"{self.path} is damaged or cut short ({what}): fetch it again")

    def fields(self, at: int, end: int) -> Iterator[_Field]:
        """Yield the fields of message data[at:end], a run of equal fixed-size fields as one."""
        while at < end:
            self.num_fields += 1
            if self.num_fields > MAX_FIELDS:
                raise self.damaged(f"over {MAX_FIELDS} fields by offset {at}")
            tag, start = self.varint(at, end)
            number, wire, value = tag >> 3, tag & 7, 0
            if not 1 <= number < 2**29 or wire not in (VARINT, FIXED64, BYTES, FIXED32):
                raise self.damaged(f"no field {number} of wire type {wire} can be at offset {at}")
            if wire == VARINT:
                value, stop = self.varint(start, end)
            elif wire == BYTES:
                size, start = self.varint(start, end)
                stop = start + size
            else:
                stride = start + FIXED_SIZE[wire] - at
                value = self._run(at, stride, end) if start == at + 1 else 1
                stop = at + stride * value
            self._check_room(start, stop, end)
            yield _Field(number, wire, start, stop, value)
            at = stop

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """Unsigned 64-bit value, and the offset after it."""
        value = 0
        for i in range(10):
            self._check_room(at + i, at + i + 1, end)
            octet = self.data[at + i]
            value |= (octet & 127) << 7 * i
            if octet < 128:
                return value % 2**64, at + i + 1
        raise self.damaged(f"a varint of over 10 bytes at offset {at}")

    def expect(self, field: _Field, *wires: int) -> _Field:
        if field.wire not in wires:
            what = f"field {field.number} at offset {field.start} has wire type {field.wire}"
            raise self.damaged(f"{what}, not {' or '.join(map(str, wires))}")
        return field

    def integers(self, field: _Field) -> Iterator[int]:
        """Yield the signed 64-bit values of an integer field, packed or single."""
        self.expect(field, VARINT, BYTES)
        at = field.start
        while at < field.stop:
            value, at = self.varint(at, field.stop)
            yield value - 2**64 if value >= 2**63 else value

    def floats(self, field: _Field, kind: str) -> np.ndarray:
        """View of the values of a packed field or of a run of unpacked fields; kind: dtype."""
        size = np.dtype(kind).itemsize
        self.expect(field, BYTES, FIXED32 if size == 4 else FIXED64)
        if field.wire != BYTES:  # each value follows its one-octet tag
            record = np.dtype([("tag", "u1"), ("value", kind)])
            return np.frombuffer(self.data, record, field.value, field.start - 1)["value"]
        length = field.stop - field.start
        if length % size:
            raise self.damaged(f"{length} bytes of {size}-byte values at offset {field.start}")
        return np.frombuffer(self.data, kind, length // size, field.start)

    def _check_room(self, start: int, stop: int, end: int) -> None:
        if stop > end:
            owner = "file has" if end == len(self.data) else "the message around it ends at"
            raise self.damaged(f"needed {stop - start} bytes at offset {start}, {owner} {end}")

    def _run(self, at: int, stride: int, end: int) -> int:
        """Number of consecutive fields known to repeat the one-octet tag at `at`, at least 1."""
        tags = self.octets[at:end:stride][: (end - at) // stride]
        count = 1  # doubled, so that short runs stay cheap; the rest becomes the next run
        while count < len(tags) and (tags[count : 2 * count] == tags[0]).all():
            count = min(2 * count, len(tags))
        return count


def _read_layer(net: _Message, layer: _Field) -> tuple[str, list[np.ndarray]]:
    net.expect(layer, BYTES)
    name_field, blobs_field = LAYER[layer.number]
    octets, blobs = b"", []
    for field in net.fields(layer.start, layer.stop):
        if field.number == name_field:
            net.expect(field, BYTES)
            octets = net.data[field.start : field.stop]
        elif field.number == blobs_field:
            blobs.append(net.expect(field, BYTES))
        elif layer.number == 2 and field.number == 1:
            upgrade = "rewrite it with Caffe's upgrade_net_proto_binary"
            raise WeightsError(f"{net.path} is in Caffe's V0 format of 2013: {upgrade}")
    try:
        name = octets.decode()
    except UnicodeDecodeError:
        shown = f"{octets[:80]!r} at offset {layer.start}"
        raise net.damaged(f"the name of layer {shown} is not UTF-8") from None
    if blobs and not name:
        raise net.damaged(f"the layer at offset {layer.start} has blobs but no name")
    where = f"layer {name[:80]!r}, blob"
    return name, [_read_blob(net, blob, f"{where} {i}") for i, blob in enumerate(blobs)]


def _read_blob(net: _Message, blob: _Field, where: str) -> np.ndarray:
    """Copy a blob to a float32 array; where: its layer and index, for messages."""
    legacy: dict[int, int] = {}
    dims: list[int] = []
    parts: list[np.ndarray] = []
    for field in net.fields(blob.start, blob.stop):
        match field.number:
            case 1 | 2 | 3 | 4:  # num, channels, height, width
                (legacy[field.number],) = net.integers(net.expect(field, VARINT))
            case 5:  # data
                parts.append(net.floats(field, "<f4"))
            case 7:  # shape
                dims += _read_dims(net, net.expect(field, BYTES), where)
            case 8:  # double_data
                parts.append(net.floats(field, "<f8"))
            case 10 | 12:  # raw_data_type, raw_data
                save = "save it from there again with store_blobs_in_old_format: true"
                raise WeightsError(f"{net.path}: {where} is in NVIDIA Caffe's raw_data: {save}")
    # As in Blob::FromProto: any of the four old fields overrides `shape`.
    shape = tuple(legacy.get(axis, 0) for axis in (1, 2, 3, 4)) if legacy else tuple(dims)
    count = sum(part.size for part in parts)
    if not all(1 <= dim <= MAX_DIM for dim in shape) or math.prod(shape) != count:
        raise net.damaged(f"{where} of shape {shape} holds {count} values")
    with np.errstate(over="ignore"):  # a double too large becomes infinite and is refused below
        values = np.concatenate(parts, dtype=np.float32, casting="same_kind").reshape(shape)
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise net.damaged(f"{where} holds NaN or infinity")
    return values


def _read_dims(net: _Message, shape: _Field, where: str) -> list[int]:
    dims: list[int] = []
    for field in net.fields(shape.start, shape.stop):
        for dim in net.integers(field) if field.number == 1 else ():
            dims.append(dim)
            if len(dims) > MAX_AXES:
                raise net.damaged(f"{where} has over {MAX_AXES} axes")
    return dims


def _content(path: Path) -> bytes:
    """Bytes of a file. Raises WeightsError if it is certainly not a caffemodel."""
    try:
        if path.is_dir():
            raise WeightsError(f"{path} is a folder: give the .caffemodel file itself")
        if not path.is_file():
            raise WeightsError(f"{path} does not exist: fetch it or correct the path")
        if path.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{path} is over Caffe's limit of 2 GiB: give a .caffemodel")
        data = path.read_bytes()
    except OSError as error:
        reraise_system_error(error)
        reason = error.strerror or error
        raise WeightsError(f"{path} cannot be read ({reason}): check its permissions") from error
    if not data:
        raise WeightsError(f"{path} is empty: fetch it again")
    for magic, advice in OTHER_FORMATS.items():
        if data.startswith(magic):
            raise WeightsError(f"{path} is not a binary .caffemodel but {advice}")
    # Either layer tag (0x12; 0xa2 0x06) has a control octet, which no prototxt or web page has.
    if not re.search(rb"[\x00-\x08\x0e-\x1f]", data):
        start = data[:40].decode(errors="replace")
        advice = "give the .caffemodel that goes with a .prototxt; if a web page, fetch it again"
        raise WeightsError(f"{path} is text ({start!r}), not a binary .caffemodel: {advice}")
    return data
