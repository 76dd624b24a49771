"""The one label map of a compressed MATLAB file like SBD's, without what else is in it.

scipy makes an object of every boundary in such a file, which takes longer than inflating it.
Source: MathWorks, "MAT-File Format", level 5: elements, each a tag of type and size before its
content; a struct's fields stand one behind the other.
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np

_PREFACE = 128  # bytes before the first element
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15  # types of elements
_STRUCT, _UINT8_ARRAY = 2, 9  # a matrix's first flags: its class, and that it is real


class UnlikeSbdError(Exception):
    """The file is made in another way, or damaged: a general reader has to say what is in it."""


def field_of_struct(file: bytes, variable: str, field: str) -> np.ndarray:
    """A field of the struct that is a file's only variable, uint8 (H, W).

    Raises UnlikeSbdError where anything on the way to it is not as in SBD's files, and zlib.error
    on a damaged one: the compression's checksum covers it whole, so that no flipped bit can pass.
    """
    try:
        content = _inflated(file)
        struct_ = _element(content, 0, _MATRIX)
        _expect(struct_.end == len(content))
        names, at = _names_of_fields(content, struct_.start, variable)
        for name in names:
            matrix = _element(content, at, _MATRIX)
            if name == field:
                return _pixels(content, matrix)
            at = matrix.end
    except (struct.error, ValueError) as error:  # a size that cannot be
        raise UnlikeSbdError from error
    raise UnlikeSbdError


class _Element(NamedTuple):
    """Where an element's content begins, its bytes, and where the next one begins."""

    start: int
    size: int
    end: int


def _element(content: bytes, at: int, kind: int) -> _Element:
    """The element at this place, which has to be of this type."""
    found, size = struct.unpack_from("<II", content, at)
    if found >> 16:  # up to four bytes, within the tag
        element = _Element(at + 4, found >> 16, at + 8)
        _expect(element.size <= 4)
    else:
        element = _Element(at + 8, size, at + 8 + (size + 7) // 8 * 8)
    _expect(found & 0xFFFF == kind and element.end <= len(content))
    return element


def _inflated(file: bytes) -> bytes:
    _expect(file[_PREFACE - 4 : _PREFACE] == b"\0\x01IM")  # version 1, little endian
    found, size = struct.unpack_from("<II", file, _PREFACE)
    _expect(found == _COMPRESSED and _PREFACE + 8 + size == len(file))
    return zlib.decompress(memoryview(file)[_PREFACE + 8 :])


def _names_of_fields(content: bytes, at: int, variable: str) -> tuple[list[str], int]:
    """Names of the fields of a struct that stands alone, and where the first of them begins."""
    flags, at = _words(content, at, _UINT32)
    shape, at = _words(content, at, _INT32)
    _expect(flags[0] == _STRUCT and shape == (1, 1))
    name = _element(content, at, _INT8)
    _expect(content[name.start : name.start + name.size] == variable.encode())
    (length,), at = _words(content, name.end, _INT32)
    names = _element(content, at, _INT8)
    _expect(length > 0 and names.size % length == 0)
    starts = range(names.start, names.start + names.size, length)
    each = (content[start : start + length].partition(b"\0")[0] for start in starts)
    return [one.decode("latin-1") for one in each], names.end


def _pixels(content: bytes, matrix: _Element) -> np.ndarray:
    flags, at = _words(content, matrix.start, _UINT32)
    (height, width), at = _words(content, at, _INT32)
    values = _element(content, _element(content, at, _INT8).end, _UINT8)
    _expect(flags[0] == _UINT8_ARRAY and values.end == matrix.end)
    _expect(min(height, width) > 0 and height * width == values.size)
    columns = np.frombuffer(content, np.uint8, values.size, values.start).reshape(width, height)
    return columns.T.copy()


def _words(content: bytes, at: int, kind: int) -> tuple[tuple[int, ...], int]:
    """An element of 32-bit integers, at least one, and where the next one begins."""
    element = _element(content, at, kind)
    _expect(element.size >= 4 and element.size % 4 == 0)
    return struct.unpack_from(f"<{element.size // 4}i", content, element.start), element.end


def _expect(fact: bool) -> None:
    if not fact:
        raise UnlikeSbdError
