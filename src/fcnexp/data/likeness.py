"""Pictures that occur twice, or nearly: the same pixels, or a difference hash and a small copy.

A net that was trained on a picture is not tested by it, under whatever name the picture returns.
The hash (N. Krawetz, "Kind of like that", 2013) takes 10 lines of NumPy; the package `imagehash`
has it too, but would add PyWavelets, and compares hashes one pair at a time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

HASH_SIDE = 8  # comparisons in each direction
SMALL_SIDE = 16  # pixels of the small copy
MOST_BITS = 8  # of 64: re-saving as JPEG, resizing and brightening change at most 5
LEAST_CORRELATION = 0.975  # of the small copies, which tells alike hashes of unlike pictures
NOISE = 3  # grey levels of 255 that compression may add to even areas
FLAT = 2.0  # standard deviation below which a picture shows nothing to compare
_BLOCK = 1024  # pictures compared with all others at a time


class Look(NamedTuple):
    """What a picture is compared by.

    digest: of its size and pixels. bits: difference hash, -1 or 1, int8 (64,). small: standardised
    small copy of unit length, float16 (768,); None if the picture is flat.
    """

    digest: bytes
    bits: np.ndarray
    small: np.ndarray | None


def look_of(picture: np.ndarray) -> Look:
    """Return the look of a picture, uint8 (H, W, 3)."""
    pixels = np.ascontiguousarray(picture)
    digest = hashlib.sha256(f"{pixels.shape}".encode())
    digest.update(pixels.data)
    image = Image.fromarray(pixels)
    box = Image.Resampling.BOX
    side = (HASH_SIDE + 1, HASH_SIDE)
    grey = np.asarray(image.resize(side, box).convert("L"), np.int16)
    bits = np.where(grey[:, 1:] > grey[:, :-1] + NOISE, 1, -1).astype(np.int8).ravel()
    small = np.asarray(image.resize((SMALL_SIDE, SMALL_SIDE), box), np.float32).ravel()
    centred = small - small.mean()
    flat = small.std() < FLAT
    unit = None if flat else (centred / np.linalg.norm(centred)).astype(np.float16)
    return Look(digest.digest(), bits, unit)


def same(looks: Sequence[Look]) -> list[list[int]]:
    """Groups of places whose pictures have the same pixels, in order."""
    places: dict[bytes, list[int]] = {}
    for place, look in enumerate(looks):
        places.setdefault(look.digest, []).append(place)
    return [group for group in places.values() if len(group) > 1]


def alike(looks: Sequence[Look]) -> list[list[int]]:
    """Groups of places whose pictures are nearly the same, of which at least two differ.

    A picture belongs to a group if it is nearly the same as any other one in it.
    """
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    places = np.arange(len(looks))
    first_of = places  # first place of each one's group
    for pairs in _pairs(looks):
        rows, columns = np.concatenate([pairs, [places, first_of]], axis=1)
        edges = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(looks),) * 2)
        _, group = connected_components(edges, directed=False)
        first_of = np.unique(group, return_index=True)[1][group]
    groups: dict[int, list[int]] = {}
    for place in np.flatnonzero(np.bincount(first_of)[first_of] > 1).tolist() if looks else []:
        groups.setdefault(int(first_of[place]), []).append(place)
    return [group for group in groups.values() if len({looks[i].digest for i in group}) > 1]


def _pairs(looks: Sequence[Look]) -> Iterator[np.ndarray]:
    """Pairs of places whose hashes and small copies are alike, int64 (2, n), block by block."""
    places = np.array([i for i, look in enumerate(looks) if look.small is not None], int)
    if not len(places):
        return
    bits = np.stack([looks[i].bits for i in places]).astype(np.float32)
    small = np.stack([looks[i].small for i in places])
    least = bits.shape[1] - 2 * MOST_BITS
    for start in range(0, len(places), _BLOCK):
        # 64 minus twice the number of different bits; each pair is looked at once.
        agreeing = np.triu(bits[start : start + _BLOCK] @ bits[start:].T >= least, 1)
        rows, columns = np.flatnonzero(agreeing.any(1)), np.flatnonzero(agreeing.any(0))
        copies = [small[start + each].astype(np.float32) for each in (rows, columns)]
        found = agreeing[np.ix_(rows, columns)] & (copies[0] @ copies[1].T >= LEAST_CORRELATION)
        first, second = np.nonzero(found)
        yield places[start + np.stack([rows[first], columns[second]])]
