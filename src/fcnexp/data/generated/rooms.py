"""The built-in data set `rooms`: ray-cast rooms with exact depth, written in NYUD's layout."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from PIL import Image

from fcnexp import VOID
from fcnexp.data.generated import textures
from fcnexp.data.generated.cache import written_once
from fcnexp.data.generated.furniture import Coat, Room, Sheet, draw_room
from fcnexp.data.generated.raycast import Skin, cast, intrinsics
from fcnexp.errors import ConfigError
from fcnexp.system.this_process import cores

VERSION = 1  # increase it with every change of the pixels, so that old folders are not reused
SPLITS = ("train", "test")  # as in NYUD; the index seeds the split's images: append only
MIN_SIDE = 48  # pixels; HHA's windows (21) would cover half of a smaller image

_FOLDERS = ("data/images", "data/depth", "data/hha", "segmentation")
_FEW = 16  # images, which take less time than starting a process pool


class Frame(NamedTuple):
    """One image: RGB uint8 (H, W, 3), depth in metres (H, W), label uint8 (H, W).

    Depth is measured at the pixel's centre. A pixel whose centre and quarters differ in class is
    VOID.
    """

    rgb: np.ndarray
    depth: np.ndarray
    label: np.ndarray


def write_rooms(
    root: Path, *, num_train: int, num_val: int, size: tuple[int, int], seed: int
) -> Path:
    """Return folder `root` with the data set in NYUD's layout; write it unless complete.

    size: height and width of the images, in pixels. The lists are `train` and `test` (num_val).
    Image `index` of a split depends only on (seed, split, index, size).
    """
    _check(num_train, num_val, size)
    made_from = {
        "version": VERSION,
        "seed": seed,
        "num_train": num_train,
        "num_val": num_val,
        "size": list(size),
    }
    return written_once(root, made_from, "rooms", _write_all)


def frame(seed: int, split: str, index: int, size: tuple[int, int]) -> Frame:
    """Image `index` of a split, of `size` (H, W) pixels."""
    rng = Generator(PCG64(SeedSequence([seed, SPLITS.index(split), index])))
    room = draw_room(rng)
    height, width = size
    depth, patches = _seen(room, room.camera.rays(size))
    label = _classes(patches, depth.size).reshape(size)
    # Four points per pixel anti-alias the edges and find pixels with several classes.
    rays = room.camera.rays(size, samples=2)
    distance, patches = _seen(room, rays)
    parts = _classes(patches, distance.size).reshape(height, 2, width, 2)
    mixed = (parts != label[:, None, :, None]).any((1, 3))
    colour = _colours(room, patches, room.camera.origin + distance * rays)
    image = colour.reshape(3, height, 2, width, 2).mean((2, 4)).transpose(1, 2, 0)
    rgb = textures.photograph(rng, image, rng.uniform(0, 2 * np.pi))
    return Frame(rgb, depth.reshape(size), np.where(mixed, VOID, label).astype(np.uint8))


class _Patch(NamedTuple):
    """The surface hit by rays `where` (n,). edge (n,): metres to a sheet's edge, else inf."""

    where: np.ndarray
    class_index: int
    coat: Coat
    normal: np.ndarray
    u: np.ndarray
    v: np.ndarray
    edge: np.ndarray


def _seen(room: Room, rays: np.ndarray) -> tuple[np.ndarray, list[_Patch]]:
    """Depth (P,) along rays (3, P) and the patches they hit; later patches cover earlier ones."""
    depth, nearest = cast(room.camera.origin, rays, [part.body for part in room.parts])
    points = room.camera.origin + depth * rays
    patches, sheets = [], []
    for number, part in enumerate(room.parts):
        where = np.flatnonzero(nearest == number)
        skin = part.body.skin(points[:, where])
        within = np.full(len(where), np.inf)
        patches.append(
            _Patch(where, part.class_index, part.coat, skin.normal, skin.u, skin.v, within)
        )
        if number == 0:
            sheets = [_on_sheet(sheet, skin, where) for sheet in room.sheets]
    return depth, patches + sheets


def _on_sheet(sheet: Sheet, skin: Skin, where: np.ndarray) -> _Patch:
    """The part of the room's shell that a sheet covers."""
    u, v = skin.u - sheet.centre[0], skin.v - sheet.centre[1]
    cos, sin = np.cos(sheet.yaw), np.sin(sheet.yaw)
    u, v = cos * u + sin * v, cos * v - sin * u
    edge = np.minimum(sheet.half[0] - np.abs(u), sheet.half[1] - np.abs(v))
    on = (skin.face == sheet.face) & (edge >= 0)
    normal = skin.normal[:, on]
    return _Patch(where[on], sheet.class_index, sheet.coat, normal, u[on], v[on], edge[on])


def _classes(patches: list[_Patch], num_rays: int) -> np.ndarray:
    classes = np.zeros(num_rays, int)
    for patch in patches:
        classes[patch.where] = patch.class_index
    return classes


def _colours(room: Room, patches: list[_Patch], points: np.ndarray) -> np.ndarray:
    """Colour (3, P) of points (3, P), about [0, 1]: coats lit by one lamp, with shadows."""
    coats, normal = np.zeros_like(points), np.zeros_like(points)
    for patch in patches:
        coats[:, patch.where], normal[:, patch.where] = _paint(patch).T, patch.normal
    towards = np.array(room.lamp)[:, None] - points
    distance = np.sqrt((towards * towards).sum(0))
    steepness = np.maximum((normal * towards).sum(0), 0) / distance
    bodies = [part.body for part in room.parts[1:]]  # the shell casts no shadows
    # Start slightly outside, so that a surface does not shade itself.
    shaded = cast(points + 1e-4 * normal, towards, bodies)[0] < 1
    lamp = np.where(shaded, 0.15, 1.0) * steepness * 3.2 / (2 + 0.25 * distance**2)
    return coats * (0.55 + 0.65 * lamp)


def _paint(patch: _Patch) -> np.ndarray:
    """Unlit colour (n, 3) of the coat."""
    from scipy.ndimage import map_coordinates  # slow to import

    coat, u, v = patch.coat, patch.u, patch.v
    fine, blotches = (
        map_coordinates(coat.grain, (u / cell, v / cell), order=1, mode="grid-wrap")
        for cell in (0.03, 0.25)
    )
    if coat.pattern is not None:
        pattern = (textures.stripes, textures.checks, textures.dots)[coat.pattern]
        blotches = pattern(u, v, coat.period)
    near, far = coat.tones
    colour = textures.blend(near, far, 0.5 + 0.5 * blotches) * (1 + 0.08 * fine[:, None])
    return np.where((patch.edge < coat.rim)[:, None], coat.rim_tone, colour)


def _write_all(folder: Path, made_from: dict[str, Any]) -> None:
    for made in _FOLDERS:
        (folder / made).mkdir(parents=True)
    images = []
    for split in SPLITS:
        num = made_from["num_train" if split == "train" else "num_val"]
        (folder / f"{split}.txt").write_text("".join(f"{split}_{i:04d}\n" for i in range(num)))
        images += [(split, index) for index in range(num)]
    write = partial(_write, folder, made_from["seed"], tuple(made_from["size"]))
    if len(images) <= _FEW:
        for image in images:
            write(image)
    else:
        with ProcessPoolExecutor(cores()) as pool:
            list(pool.map(write, images, chunksize=8))  # list() raises the failures


def _write(folder: Path, seed: int, size: tuple[int, int], image: tuple[str, int]) -> None:
    """Write the four files of one image, (split, index)."""
    import scipy.io  # slow to import

    from fcnexp.data.hha import encode_hha

    rgb, depth, label = frame(seed, *image, size)
    millimetres = np.round(1000 * depth).astype(np.uint16)
    # Encoded from the stored depth, so that HHA can be reproduced from the files.
    hha = encode_hha(millimetres / 1000, None, intrinsics(size))
    split, index = image
    rgb_path, depth_path, hha_path, label_path = (
        folder / made / f"img_{split}_{index:04d}" for made in _FOLDERS
    )
    for path, pixels in ((rgb_path, rgb), (depth_path, millimetres), (hha_path, hha)):
        Image.fromarray(pixels).save(path.with_suffix(".png"))
    file = BytesIO()
    # Classes count from 1 and void is 0, as in NYUD: VOID wraps around.
    scipy.io.savemat(file, {"segmentation": label + np.uint8(1)}, do_compression=True)
    # SciPy writes the time into the 116 bytes of free text; replaced to keep files reproducible.
    text = b"MATLAB 5.0 MAT-file".ljust(116)
    label_path.with_suffix(".mat").write_bytes(text + file.getvalue()[116:])


def _check(num_train: int, num_val: int, size: tuple[int, int]) -> None:
    if min(num_train, num_val) < 1:
        raise ConfigError(
            f"rooms: num_train={num_train}, num_val={num_val}: each must be 1 or more; "
            "try num_train=240 num_val=60"
        )
    if min(size) < MIN_SIDE:
        raise ConfigError(
            f"rooms: size={tuple(size)}: height and width must be {MIN_SIDE} pixels or more; "
            "try size=[120,160]"
        )
