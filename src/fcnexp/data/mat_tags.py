"""Whether a MATLAB file is sound enough for scipy, which crashes on some that are damaged.

scipy's reader takes types and sizes as they stand, and looks up memory by them. Here every tag on
the way to a variable is compared with what may stand there. Source: as in `mat`.
"""

import math
import struct
import zlib
from typing import NamedTuple

SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}
INT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 5, 6, 14, 15  # types; SIZES has the bytes of others
CELL, STRUCT, CHAR, SPARSE, NUMBERS = 1, 2, 4, 5, range(6, 16)  # classes of a matrix
OPAQUE = 17  # class of strings and tables, without a shape; scipy passes over its name
HEAD = 2**12  # bytes that hold a matrix's flags, shape and name
MOST = 2**28  # bytes of a variable; labels have some hundred thousand
DEEPEST = 8  # matrices within matrices


class Tag(NamedTuple):
    """An element: its type, where its content lies, and where the next one begins."""

    kind: int
    start: int
    end: int
    next: int


class Head(NamedTuple):
    """What a matrix begins with, and where the rest does."""

    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    name: bytes
    next: int


class Elements:
    """The elements of one stretch of bytes, each checked against its end."""

    def __init__(self, content: bytes, order: str) -> None:
        self.content, self.order = content, order

    def tag(self, at: int, end: int) -> Tag:
        """The element that begins at a place. Raises ValueError, struct.error."""
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
        """Check and return a matrix's head; all that scipy looks at where it wants another."""
        _expect(tag.kind == MATRIX)
        flags = self.tag(tag.start, tag.end)
        first, _ = self.words(flags, UINT32)
        if first & 0xFF == OPAQUE:
            return Head(OPAQUE, False, (), b"", flags.next)
        dims = self.tag(flags.next, tag.end)
        name = self.tag(dims.next, tag.end)
        shape = self.words(dims, INT32)
        _expect(name.kind == INT8 and len(shape) > 1 and min(shape) >= 0)
        _expect(name.end <= len(self.content))
        called = self.content[name.start : name.end]
        return Head(first & 0xFF, bool(first & 0x800), shape, called, name.next)

    def matrix(self, tag: Tag, depth: int) -> None:
        """Check a matrix with all that is in it."""
        _expect(tag.kind == MATRIX and depth < DEEPEST)
        if tag.start == tag.end and depth:
            return  # an empty one
        head = self.head(tag)
        count = math.prod(head.shape)
        _expect(count <= MOST)
        self._inside(head.kind, count, head.is_complex, head.next, tag.end, depth)

    def _inside(
        self, kind: int, count: int, is_complex: bool, at: int, end: int, depth: int
    ) -> None:
        if kind == STRUCT:
            length = self.tag(at, end)
            names = self.tag(length.next, end)
            (each,) = self.words(length, INT32)
            _expect(names.kind == INT8 and each > 0 and (names.end - names.start) % each == 0)
            count *= (names.end - names.start) // each
            at = names.next
        if kind in (STRUCT, CELL):
            _expect(count <= (end - at) // 8)  # each has a tag at least
            for _ in range(count):
                inner = self.tag(at, end)
                self.matrix(inner, depth + 1)
                at = inner.next
            return
        _expect(kind in NUMBERS or kind in (CHAR, SPARSE))
        parts = (3 if kind == SPARSE else 1) + is_complex
        for part in range(parts):
            tag = self.tag(at, end)
            _expect(tag.kind in SIZES)
            size = SIZES[tag.kind]
            _expect((tag.end - tag.start) % size == 0)
            _expect(kind not in NUMBERS or tag.end - tag.start == count * size)
            _expect(kind != SPARSE or part > 1 or tag.kind == INT32)
            at = tag.next


def refuse_unsound(file: bytes, variable: str) -> None:
    """Raise ValueError where a file's tags, or those of this variable, cannot be.

    Of variables before it the heads alone are looked at, as by scipy: they may be as large as they
    like.
    Files that are not of level 5 are left to scipy, whose readers of those do not crash.
    """
    if len(file) < 128 or 0 in file[:4]:
        return
    if file[124:128] in (b"\0\2IM", b"\2\0MI"):
        raise ValueError("of MATLAB v7.3, which is HDF5; save it with -v7")
    order = "<" if file[126:128] == b"IM" else ">"
    at = 128
    try:
        while at < len(file):
            outer = Elements(file, order).tag(at, len(file))
            if _name(file, outer, order) == variable.encode():
                _refuse_unsound_matrix(file, outer, order)
                return  # scipy looks no further
            at = outer.next
    except (struct.error, zlib.error) as error:
        raise ValueError(f"damaged: {error}") from None


def _name(file: bytes, outer: Tag, order: str) -> bytes:
    """The name of the variable at a place, its head checked."""
    if outer.kind != COMPRESSED:
        return Elements(file, order).head(outer).name
    content = zlib.decompressobj().decompress(file[outer.start : outer.end], HEAD)
    elements = Elements(content, order)
    return elements.head(elements.tag(0, 2**33)).name  # it may end behind what is unpacked here


def _refuse_unsound_matrix(file: bytes, outer: Tag, order: str) -> None:
    if outer.kind != COMPRESSED:
        Elements(file, order).matrix(outer, 0)
        return
    inflater = zlib.decompressobj()
    content = inflater.decompress(file[outer.start : outer.end], MOST)
    _expect(inflater.eof)  # whole, and its checksum is right
    elements = Elements(content, order)
    elements.matrix(elements.tag(0, len(content)), 0)


def _expect(fact: bool) -> None:
    if not fact:
        raise ValueError("damaged: a size or type that cannot be")
