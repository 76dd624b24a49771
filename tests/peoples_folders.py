"""Writers of small data sets: six scenes in the folders and formats of people and tools."""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from fake_data import png_bytes
from PIL import Image

SIZE = (24, 32)
NAMES = tuple(f"s{i}" for i in range(6))
OBJECTS = ((255, 0, 0), (255, 255, 0))  # red, unlike the background
TURNS = {  # how a camera stores an upright picture with each orientation
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, -1),
}


def scene(number: int, size=SIZE, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3), whose background is grey, and label (H, W)."""
    rng = np.random.default_rng(number)
    label, image = np.zeros(size, np.uint8), np.full((*size, 3), 80, np.uint8)
    for c in range(1, classes):
        y, x = rng.integers(0, size[0] // 2 - 8), rng.integers(0, size[1] - 9)
        y += (c - 1) * size[0] // 2  # objects never hide each other
        label[y : y + 8, x : x + 8], image[y : y + 8, x : x + 8] = c, OBJECTS[c - 1]
    return image, label


def save(pixels: np.ndarray, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)
    return path


def write(
    root: Path,
    *,
    image="images/{}.jpg",
    mask="masks/{}.png",
    size=SIZE,
    classes=3,
    yaml: str | None = "classes: [c0, c1, c2]",
    lists: str | None = "{}",
    lists_in=".",
    encoding="utf-8",
    stored=lambda label: label,
    names: Sequence[str] = NAMES,
) -> None:
    """Six scenes; `{}` is the name, `{half}` train or val. stored: pixels of a mask."""
    for number, name in enumerate(names):
        half = "train" if number < 4 else "val"
        picture, label = scene(number, size, classes)
        save(picture, root / image.format(name, half=half), quality=95)
        save(stored(label), root / mask.format(name, half=half))
    if yaml is not None:
        (root / "classes.yaml").write_text(yaml + "\n", encoding="utf-8")
    if lists is not None:
        for half, part in (("train", names[:4]), ("val", names[4:])):
            (root / lists_in).mkdir(parents=True, exist_ok=True)
            text = "".join(lists.format(name) + "\n" for name in part)
            (root / lists_in / f"{half}.txt").write_bytes(text.encode(encoding))


def then(change: Callable[[Path], object], **options) -> Callable[[Path], object]:
    def both(root: Path) -> None:
        write(root, **options)
        change(root)

    return both


def turned(orientation: int, size=SIZE, form="jpg", masks_too=False) -> Callable[[Path], object]:
    """Photographs stored turned, with the note; masks drawn upright, or on the stored pixels."""

    def both(root: Path) -> None:
        write(root, size=size)
        for number, name in enumerate(NAMES):
            picture, label = scene(number, size)
            note = Image.Exif()
            note[0x112] = orientation
            (root / f"images/{name}.jpg").unlink()
            save(TURNS[orientation](picture), root / f"images/{name}.{form}", exif=note)
            if masks_too:
                save(TURNS[orientation](label), root / f"masks/{name}.png")

    return both


def grey_rgb(label: np.ndarray) -> np.ndarray:
    return np.repeat(label[..., None], 3, axis=-1)


def with_alpha(label: np.ndarray, alpha=255) -> np.ndarray:
    return np.stack([label, np.full_like(label, alpha)], axis=-1)


def colours(*rgb) -> Callable[[np.ndarray], np.ndarray]:
    return lambda label: np.array(rgb, np.uint8)[label]


def panoptic(label: np.ndarray) -> np.ndarray:
    """Segment numbers as 256 green + red."""
    numbers = label.astype(int) * 3000 + 7
    return np.stack([numbers % 256, numbers // 256, 0 * numbers], -1).astype(np.uint8)


def mac_files(root: Path) -> None:
    for place in ("images", "masks"):
        (root / place / "._s0.jpg").write_bytes(b"\0\5\x16\7")
        (root / place / "._s0.png").write_bytes(b"\0\5\x16\7")
        (root / place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (root / place / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (root / "__MACOSX/images").mkdir(parents=True)
    (root / "images/tiles.jpg").mkdir()


def unpacked(root: Path) -> None:
    """An archive's folder inside the root, with what macOS puts beside it."""
    write(root / "pets")
    (root / "__MACOSX/pets").mkdir(parents=True)


def decomposed(root: Path) -> None:
    names = [unicodedata.normalize("NFC", f"caf\u00e9{i}") for i in range(6)]
    write(root, names=names)
    for path in [*(root / "images").iterdir(), *(root / "masks").iterdir()]:
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))


def pages(folder: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        first, second = (Image.new("L", SIZE[::-1], value) for value in (0, 1))
        for name in NAMES:
            for path in (root / folder).glob(f"{name}.*"):
                path.unlink()
            first.save(root / f"{folder}/{name}.tif", save_all=True, append_images=[second])

    return change


def deep_png(root: Path) -> None:
    row = b"\3\xff" * 3 * SIZE[1]
    content = png_bytes([row] * SIZE[0], width=SIZE[1], bits=16, kind=2)
    for name in NAMES:
        (root / f"images/{name}.jpg").write_bytes(content)


def overview(root: Path) -> None:
    """TIFF images with a smaller copy of themselves as a second page, as maps have."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    for number, name in enumerate(NAMES):
        (root / f"images/{name}.jpg").unlink()
        small, note = Image.new("RGB", (8, 6)), ImageFileDirectory_v2()
        note[254] = 1
        small.encoderinfo = {"tiffinfo": note}
        image = Image.fromarray(scene(number)[0])
        image.save(root / f"images/{name}.tif", save_all=True, append_images=[small])
