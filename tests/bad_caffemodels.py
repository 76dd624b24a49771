"""Damaged `.caffemodel` files and files of other formats: bytes and expected messages, by name."""

import caffe_files as write
from caffe_files import V2_FILE, one_blob, shaped

from fcnexp.nn.weights.caffe import MAX_FIELDS

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
    "varint cut": (V2_FILE + b"\x20\xff", "needed 1 bytes at offset 32, file has 32"),
    "float cut": (V2_FILE + b"\x3d\0\0", "needed 4 bytes at offset 31, file has 33"),
    "layer cut": (V2_FILE[:-1], "needed 24 bytes at offset 6, file has 29"),
    "huge length": (b"\xa2\x06" + HUGE, f"needed {2**62} bytes at offset 11, file has 11"),
    "blob past its layer": (
        write.octets(100, write.octets(1, b"c") + b"\x3a\x09") + bytes(9),
        "needed 9 bytes at offset 8, the message around it ends at 8",
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

OTHER_CONTENT = {
    "empty": (b"", "is empty: fetch it again"),
    "prototxt": (b'name: "FCN"\nlayer {\n}\n', "is text ('name: .*give the .caffemodel"),
    "web page": (b"<!DOCTYPE html>\r\n<html>\xc3\xa9", "is text ('<!DOCTYPE.*fetch it again"),
    "torch": (b"PK\x03\x04" + bytes(50), "is not a binary .caffemodel but a torch file: give its"),
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
