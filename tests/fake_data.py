"""Tiny fake data sets in the original layouts."""

import struct
from io import BytesIO
from pathlib import Path
from zlib import compress, crc32

import numpy as np
import scipy.io
from PIL import Image

from fcnexp import VOID
from fcnexp.data import siftflow
from fcnexp.data.palette import save_indexed

ROWS, COLUMNS = np.indices((20, 24))  # of the NYUD images
LABEL = np.array([[0, 1, 20], [VOID, 15, 0]], np.uint8)

# PASCAL-Context's values: table, unknown, unlabelled; aeroplane, the last of all, wood
LABEL_MAP = np.array([[397, 431, 0], [2, 459, 458]], np.uint16)


# SIFT Flow's values, 0 and -1 for unlabelled
SEMANTIC = np.array([[0, 1, 33], [28, 9, 0]], np.uint8)
GEOMETRIC = np.array([[-1, 3, 3], [1, 2, 0]], np.int16)


def voc_tree(root: Path, train: tuple[str, ...] = ("a",), val: tuple[str, ...] = ("b",)) -> Path:
    """Write a folder in VOC's layout with a 3x2 image and label for each id."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name in (*train, *val):
        Image.new("RGB", (3, 2), (200, 0, 0)).save(root / "JPEGImages" / f"{name}.jpg")
        save_indexed(root / "SegmentationClass" / f"{name}.png", LABEL)
    for split, ids in (("train", train), ("val", val)):
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(ids))
    return root


def sbd_tree(root: Path, ids: tuple[str, ...] = ("c", "d")) -> Path:
    for folder in ("img", "cls"):
        (root / folder).mkdir(parents=True)
    for name in ids:
        Image.new("RGB", (3, 2)).save(root / "img" / f"{name}.jpg")
        segmentation = np.minimum(LABEL, 20)
        scipy.io.savemat(root / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": segmentation}})
    (root / "train.txt").write_text("\n".join(ids) + "\n")
    return root


def context_tree(root: Path, train: tuple[str, ...] = ("b", "a"), val: tuple[str] = ("c",)) -> None:
    """Write VOC 2010 with its lists in `voc`, and PASCAL-Context's labels in `context`."""
    for folder in ("voc/JPEGImages", "voc/ImageSets/Main", "context/trainval"):
        (root / folder).mkdir(parents=True)
    for name in (*train, *val):
        Image.new("RGB", (3, 2), (200, 0, 0)).save(root / "voc/JPEGImages" / f"{name}.jpg")
        (root / "context/trainval" / f"{name}.mat").write_bytes(mat(LabelMap=LABEL_MAP))
    for split, ids in (("train", train), ("val", val)):
        (root / f"voc/ImageSets/Main/{split}.txt").write_text("\n".join(ids))


def siftflow_tree(
    root: Path,
    train: tuple[str, ...] = ("coast_b", "coast_a"),
    test: tuple[str, ...] = ("coast_c",),
) -> Path:
    """Write SIFT Flow's layout, with a 3x2 image and both labels for each id, and both lists."""
    for folder in siftflow.FOLDERS:
        (root / folder / siftflow.SCENES).mkdir(parents=True)
    for name in (*train, *test):
        images, semantic, geometric = (root / f / siftflow.SCENES for f in siftflow.FOLDERS)
        Image.new("RGB", (3, 2), (200, 0, 0)).save(images / f"{name}.jpg")
        (semantic / f"{name}.mat").write_bytes(mat(S=SEMANTIC, names=["awning"]))
        (geometric / f"{name}.mat").write_bytes(mat(S=GEOMETRIC, names=["sky"]))
    for split, ids in (("trainval", train), ("test", test)):
        (root / f"{split}.txt").write_text("\n".join(ids))
    return root


def nyud_tree(
    root: Path, train: tuple[str, ...] = ("5003",), test: tuple[str, ...] = ("5001", "5002")
) -> Path:
    """Write a folder in the papers' NYUDv2 layout, with `trainval`, `train` and `test` lists.

    Each id has a 20x24 image (row, column, 0), HHA (column, row, 9), depth 1000 * row + column and
    stored label (row + column) % 41.
    """
    for folder in ("data/images", "data/hha", "data/depth", "segmentation"):
        (root / folder).mkdir(parents=True)
    for name in (*train, *test):
        for folder, channels in (("images", (ROWS, COLUMNS, 0)), ("hha", (COLUMNS, ROWS, 9))):
            pixels = np.dstack(np.broadcast_arrays(*channels)).astype(np.uint8)
            Image.fromarray(pixels).save(root / "data" / folder / f"img_{name}.png")
        depth = (1000 * ROWS + COLUMNS).astype(np.uint16)
        Image.fromarray(depth).save(root / "data/depth" / f"img_{name}.png")
        save_nyud_label(root, name, (ROWS + COLUMNS) % 41)
    for split, ids in (("trainval", train), ("train", train), ("test", test)):
        (root / f"{split}.txt").write_text("\n".join(ids))  # no final newline, like the original
    return root


def save_nyud_label(root: Path, name: str, stored: np.ndarray) -> None:
    scipy.io.savemat(root / "segmentation" / f"img_{name}.mat", {"segmentation": stored})


def own_tree(root: Path, names: tuple[str, ...] = ("a", "b"), colours: str = "") -> Path:
    """Write custom data, images/NAME.jpg with mask LABEL; the last is for validation.

    The classes are c0 to c20; colours: a line of classes.yaml.
    """
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in names:
        Image.new("RGB", (3, 2), (200, 0, 0)).save(root / "images" / f"{name}.jpg")
        save_indexed(root / "masks" / f"{name}.png", LABEL)
    (root / "train.txt").write_text("\n".join(names[:-1]))
    (root / "val.txt").write_text(names[-1])
    classes = ", ".join(f"c{i}" for i in range(21))
    (root / "classes.yaml").write_text(f"classes: [{classes}]\n{colours}\n")
    return root


def png_bytes(rows: list[bytes], *, width: int, bits: int, kind: int) -> bytes:
    """A PNG of raw rows, with bit depths that Pillow does not write. kind: 0 grey, 2 RGB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    pixels = compress(b"".join(b"\0" + row for row in rows))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def encoded(image, form: str, **options) -> bytes:
    """The file content of an image or array."""
    buffer = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        buffer, form, **options
    )
    return buffer.getvalue()


def plain(mode: str, colour, form: str = "PNG", **options) -> bytes:
    """A 3x2 image of one colour."""
    return encoded(Image.new(mode, (3, 2), colour), form, **options)


def animated(form: str) -> bytes:
    """An animation of two images, red and blue."""
    red, blue = (Image.new("RGB", (3, 2), colour) for colour in ("red", "blue"))
    return encoded(red, form, save_all=True, append_images=[blue], duration=100)


def mat(**content) -> bytes:
    buffer = BytesIO()
    scipy.io.savemat(buffer, content)
    return buffer.getvalue()


def sbd(label) -> bytes:
    return mat(GTcls={"Segmentation": label})


def palette_png(label: np.ndarray, **options) -> bytes:
    image = Image.fromarray(label)
    image.putpalette(bytes(range(256)) * 3)
    return encoded(image, "PNG", **options)
