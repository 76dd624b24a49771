"""Parser of MATLAB level 5 files: fast for SBD's label maps, a check of others for scipy.

scipy builds an object for every boundary in an SBD file, which takes longer than inflating it. On
some damaged files it crashes, since it trusts the stored types and sizes and uses them as lengths.
Source: MathWorks, "MAT-File Format", level 5: a file is a list of elements, each a tag of type and
size followed by its content; the fields of a struct follow one another.
"""

import math
import struct
import zlib
from typing import NamedTuple

import numpy as np

PREFACE = 128  # bytes before the first element
SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
INT8, UINT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 2, 5, 6, 14, 15  # types; bytes of one: SIZES
CELL, STRUCT, CHAR, SPARSE, NUMBERS = 1, 2, 4, 5, range(6, 16)  # classes of a matrix
UINT8_ARRAY = 9  # flags of a real uint8 matrix, complete
OPAQUE = 17  # class of strings and tables, which have no shape; scipy skips the name
HEAD = 2**12  # bytes that certainly hold a matrix's flags, shape and name
MOST = 2**28  # largest variable in bytes; labels have a few hundred thousand
DEEPEST = 8  # nesting of matrices


class UnlikeSbdError(Exception):
    """The file differs from SBD's or is damaged; a general reader has to tell which."""


class Tag(NamedTuple):
    """An element: its type, the span of its content, and the start of the next element."""

    kind: int
    start: int
    end: int
    next: int


class Head(NamedTuple):
    """The fixed start of a matrix, and where its content starts."""

    flags: int
    shape: tuple[int, ...]
    name: bytes
    next: int

    @property
    def kind(self) -> int:
        """Class of the matrix."""
        return self.flags & 0xFF


def field_of_struct(file: bytes, variable: str, field: str) -> np.ndarray:
    """A field of the struct that is a file's only variable, uint8 (H, W).

    Raises UnlikeSbdError if anything before the field differs from SBD's files, and zlib.error if
    the file is damaged: the checksum covers all of the compressed data, so it catches flipped bits.
    """
    try:
        elements = Elements(_inflated(file), "<")
        end = len(elements.content)
        tag = elements.tag(0, end)
        _expect(tag.kind == MATRIX and tag.next == end)
        head = elements.head(tag)
        _expect(head.flags == STRUCT and head.shape == (1, 1) and head.name == variable.encode())
        names, at = elements.names_of_fields(head.next, end)
        for start in names:
            tag = elements.tag(at, end)
            name = elements.content[start : start + names.step].partition(b"\0")[0]
            if name == field.encode():
                return elements.uint8_matrix(tag)
            at = tag.next
    except (struct.error, ValueError) as error:
        raise UnlikeSbdError from error
    raise UnlikeSbdError


def refuse_unsound(file: bytes, variable: str) -> None:
    """Raise ValueError if a file's tags, or those of this variable, are impossible.

    Like scipy, this reads only the heads of the variables before it, which may be of any size.
    Files of other levels pass: scipy's readers for those do not crash.
    """
    if len(file) < PREFACE or 0 in file[:4]:
        return
    if file[124:PREFACE] in (b"\0\2IM", b"\2\0MI"):
        raise ValueError("of MATLAB v7.3, which is HDF5; save it with -v7")
    order = "<" if file[126:PREFACE] == b"IM" else ">"
    at = PREFACE
    try:
        while at < len(file):
            outer = Elements(file, order).tag(at, len(file))
            if _name(file, outer, order) == variable.encode():
                _refuse_unsound_matrix(file, outer, order)
                return  # scipy stops here too
            at = outer.next
    except (struct.error, zlib.error) as error:
        raise ValueError(f"damaged: {error}") from None


class Elements:
    """Reader of the elements in a byte string; every method raises ValueError or struct.error."""

    def __init__(self, content: bytes, order: str) -> None:
        self.content, self.order = content, order

    def tag(self, at: int, end: int) -> Tag:
        """The element that starts at a position, whose content must end by `end`."""
        kind, size = struct.unpack_from(f"{self.order}II", self.content, at)
        if kind >> 16:  # up to four bytes, within the tag
            tag = Tag(kind & 0xFFFF, at + 4, at + 4 + (kind >> 16), at + 8)
            _expect(kind >> 16 <= 4)
        else:
            padded = size if kind == COMPRESSED else (size + 7) // 8 * 8
            tag = Tag(kind, at + 8, at + 8 + size, at + 8 + padded)
        _expect(tag.kind in SIZES or tag.kind in (MATRIX, COMPRESSED))
        _expect(tag.end <= end)
        return tag

    def words(self, tag: Tag, kind: int) -> tuple[int, ...]:
        """The 32-bit numbers of an element of this type."""
        _expect(tag.kind == kind and (tag.end - tag.start) % 4 == 0)
        count = (tag.end - tag.start) // 4
        return struct.unpack_from(f"{self.order}{count}i", self.content, tag.start)

    def head(self, tag: Tag) -> Head:
        """The checked head of a matrix; it is all that scipy reads of a variable it skips."""
        _expect(tag.kind == MATRIX)
        flags = self.tag(tag.start, tag.end)
        first, _ = self.words(flags, UINT32)
        if first & 0xFF == OPAQUE:
            return Head(OPAQUE, (), b"", flags.next)
        dims = self.tag(flags.next, tag.end)
        name = self.tag(dims.next, tag.end)
        shape = self.words(dims, INT32)
        _expect(name.kind == INT8 and len(shape) > 1 and min(shape) >= 0)
        _expect(name.end <= len(self.content))
        return Head(first, shape, self.content[name.start : name.end], name.next)

    def names_of_fields(self, at: int, end: int) -> tuple[range, int]:
        """Starts of the names of a struct's fields, `step` bytes each; start of the first field."""
        length = self.tag(at, end)
        names = self.tag(length.next, end)
        (each,) = self.words(length, INT32)
        _expect(names.kind == INT8 and each > 0 and (names.end - names.start) % each == 0)
        return range(names.start, names.end, each), names.next

    def uint8_matrix(self, tag: Tag) -> np.ndarray:
        """The values of a real uint8 matrix, (H, W)."""
        head = self.head(tag)
        values = self.tag(head.next, tag.end)
        height, width = head.shape
        _expect(head.flags == UINT8_ARRAY and values.kind == UINT8 and values.next == tag.next)
        _expect(min(height, width) > 0 and height * width == values.end - values.start)
        columns = np.frombuffer(self.content, np.uint8, height * width, values.start)
        return columns.reshape(width, height).T.copy()

    def check_matrix(self, tag: Tag, depth: int) -> None:
        """Check a matrix and everything in it."""
        _expect(tag.kind == MATRIX and depth < DEEPEST)
        if tag.start == tag.end and depth:
            return  # an empty one
        head = self.head(tag)
        at, count = head.next, math.prod(head.shape)
        _expect(count <= MOST)
        if head.kind == STRUCT:
            names, at = self.names_of_fields(at, tag.end)
            count *= len(names)
        if head.kind not in (STRUCT, CELL):
            self._check_values(head, count, tag.end)
            return
        _expect(count <= (tag.end - at) // 8)  # each has at least a tag
        for _ in range(count):
            inner = self.tag(at, tag.end)
            self.check_matrix(inner, depth + 1)
            at = inner.next

    def _check_values(self, head: Head, count: int, end: int) -> None:
        at, kind, is_complex = head.next, head.kind, bool(head.flags & 0x800)
        _expect(kind in NUMBERS or kind in (CHAR, SPARSE))
        for part in range((3 if kind == SPARSE else 1) + is_complex):
            tag = self.tag(at, end)
            _expect(tag.kind in SIZES)
            size = SIZES[tag.kind]
            _expect((tag.end - tag.start) % size == 0)
            _expect(kind not in NUMBERS or tag.end - tag.start == count * size)
            _expect(kind != SPARSE or part > 1 or tag.kind == INT32)
            at = tag.next


def _inflated(file: bytes) -> bytes:
    """Content of a little-endian file whose only element is compressed, as SBD's are."""
    _expect(file[PREFACE - 4 : PREFACE] == b"\0\x01IM")
    outer = Elements(file, "<").tag(PREFACE, len(file))
    _expect(outer.kind == COMPRESSED and outer.end == len(file))
    return zlib.decompress(memoryview(file)[outer.start :])


def _name(file: bytes, outer: Tag, order: str) -> bytes:
    """Name of the variable in an element, after checking its head."""
    if outer.kind != COMPRESSED:
        return Elements(file, order).head(outer).name
    content = zlib.decompressobj().decompress(file[outer.start : outer.end], HEAD)
    elements = Elements(content, order)
    return elements.head(elements.tag(0, 2**33)).name  # its end may not be inflated here


def _refuse_unsound_matrix(file: bytes, outer: Tag, order: str) -> None:
    if outer.kind != COMPRESSED:
        Elements(file, order).check_matrix(outer, 0)
        return
    inflater = zlib.decompressobj()
    content = inflater.decompress(file[outer.start : outer.end], MOST)
    _expect(inflater.eof)  # complete, and the checksum matches
    elements = Elements(content, order)
    elements.check_matrix(elements.tag(0, len(content)), 0)


def _expect(fact: bool) -> None:
    if not fact:
        raise ValueError("damaged: impossible size or type")
