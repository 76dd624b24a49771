"""More small data sets, after what single tools and habits write; see `peoples_files`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from peoples_files import Case, bad, ok, text
from peoples_folders import NAMES, SIZE, scene, then, write
from PIL import Image

GAPS = np.uint8([0, 127, 254])
CITY = {"image": "leftImg8bit/{half}/bern/{}_leftImg8bit.png", "lists": None}
CITY_MASK = "gtFine/{{half}}/bern/{{}}_gtFine_{}.png"


def cityscapes(root: Path) -> None:
    write(root, **CITY, mask=CITY_MASK.format("color"), stored=lambda label: label * 0)
    write(root, **CITY, mask=CITY_MASK.format("labelIds"))


def renamed(**folders: str) -> Callable[[Path], object]:
    """Move folders; keys are paths with __ for /."""

    def change(root: Path) -> None:
        for old, new in folders.items():
            (root / new).parent.mkdir(parents=True, exist_ok=True)
            (root / old.replace("__", "/")).rename(root / new)

    return change


def replaced(folder: str, suffix: str, content: bytes, names=NAMES) -> Callable[[Path], object]:
    """Files of another format in place of images or masks."""

    def change(root: Path) -> None:
        for name in names:
            (path,) = (root / folder).glob(f"{name}.*")
            path.unlink()
            path.with_suffix(suffix).write_bytes(content)

    return change


def images_as(mode: str, suffix: str, **options) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        for number, name in enumerate(NAMES):
            (root / f"images/{name}.jpg").unlink()
            picture = Image.fromarray(scene(number)[0]).convert(mode)
            picture.save(root / f"images/{name}.{suffix}", **options)

    return change


def table(header: str, line: str) -> Callable[[Path], object]:
    """Lists of one line per image, below a header."""

    def change(root: Path) -> None:
        for half in ("train", "val"):
            names = (root / f"{half}.txt").read_text().split()
            lines = [header, *(line.format(name) for name in names)]
            (root / f"{half}.txt").write_text("\r\n".join(lines))

    return change


def nested(root: Path) -> None:
    for name in NAMES:
        day = "day2" if name > "s2" else "day1"
        for kind, suffix in (("images", "jpg"), ("masks", "png")):
            (root / kind / day).mkdir(exist_ok=True)
            (root / f"{kind}/{name}.{suffix}").rename(root / f"{kind}/{day}/{name}.{suffix}")


TOOLS = {
    "img_1 and mask_1": ok(image="images/img_{}.jpg", mask="masks/mask_{}.png", lists="img_{}"),
    "img_1 and 1": ok(
        image="images/img_{}.jpg",
        mask="masks/{}.png",
        lists="img_{}",
        names=[f"{i:02}" for i in range(6)],
    ),
    "image1 and label1": ok(
        image="images/image{}.jpg", mask="labels/label{}.png", lists="image{}", names=[*"123456"]
    ),
    "DeepGlobe": ok(image="{}_sat.jpg", mask="{}_mask.png", lists="{}_sat"),
    "DeepGlobe, told": Case(
        partial(write, image="images/{}_sat.jpg", mask="masks/{}_mask.png", lists="{}_sat"),
        {"masks": "NAME_mask.png"},
    ),
    "Cityscapes": Case(cityscapes, {"masks": "NAME_gtFine_labelIds.png"}),
    "Cityscapes, untold": Case(
        cityscapes, refused="may be NAME_gtFine_color or NAME_gtFine_labelIds; choose"
    ),
    "MMSegmentation": ok(image="img_dir/{half}/{}.jpg", mask="ann_dir/{half}/{}.png", lists=None),
    "ADE20K": Case(
        then(
            renamed(
                images__train="images/training",
                images__val="images/validation",
                annotations__train="annotations/training",
                annotations__val="annotations/validation",
            ),
            image="images/{half}/{}.jpg",
            mask="annotations/{half}/{}.png",
            lists=None,
            yaml="classes: [c0, c1, c2]\nvalues: [1, 2, 3]\nvoid: 0",
            stored=lambda label: label + 1,
        )
    ),
    "ADE20K, undeclared": bad(
        r"`values: {c0: 1, c1: 2, c2: 3}` and `void: 0` if .* or `void: 3` if",
        stored=lambda label: np.where(np.indices(label.shape)[1] < 1, 0, label + 1).astype("u1"),
    ),
    "Supervisely": ok(mask="masks/{}.jpg.png"),
    "Roboflow": Case(
        then(
            text("train/_classes.csv", "Pixel Value, Class\n0, c0\n1, c1\n2, c2\n"),
            image="{half}/{}.jpg",
            mask="{half}/{}_mask.png",
            lists=None,
            yaml=None,
        )
    ),
    "Roboflow, broken": Case(
        then(
            text("train/_classes.csv", "Pixel Value, Class\nc0\n"),
            image="{half}/{}.jpg",
            mask="{half}/{}_mask.png",
            lists=None,
            yaml=None,
        ),
        refused=r"_classes\.csv: c0: write value,class for each class",
    ),
    "classes.txt": Case(then(text("classes.txt", "c0\nc1\nc2\n"), yaml=None)),
    "classes.yml": Case(then(text("classes.yml", "classes: [c0, c1, c2]"), yaml=None)),
    "folders in folders": Case(then(nested)),
    "capitals": ok(image="Images/{}.JPG", mask="MASKS/{}.PNG"),
    "Windows lists": ok(lists="{}\r"),
    "UTF-8 lists with a mark": ok(encoding="utf-8-sig"),
    "lists from this folder": ok(lists="./images/{}.jpg"),
    "lists in other capitals": bad(r"train\.txt: S", names=[*"uvwxyz"], lists="S{}"),
    "lists with a header and tabs": Case(then(table("image\tmask", "{0}.jpg\t{0}.png"))),
    "lists with a header and commas": Case(
        then(table("image,mask", "images/{0}.jpg,masks/{0}.png"))
    ),
    "names with dots": ok(names=[f"v1.{i}" for i in range(6)]),
    "grey with opaque colours": ok(
        stored=lambda label: np.stack([label] * 3 + [np.full_like(label, 255)], -1)
    ),
    "32-bit TIFF masks": ok(mask="masks/{}.tif", stored=lambda label: label.astype(np.int32)),
    "16-bit masks of large gaps, declared": ok(
        yaml="classes: [c0, c1, c2]\nvalues: [10, 3000, 60000]",
        stored=lambda label: np.uint16([10, 3000, 60000])[label],
    ),
    "one-bit TIFF masks": ok(
        classes=2, yaml="classes: [bg, lesion]", mask="masks/{}.tif", stored=lambda label: label > 0
    ),
    "floating-point masks": bad(
        "mask of mode F; save class indices as an 8-bit", mask="masks/{}.tif", stored=np.float32
    ),
    "values with gaps": bad(
        r"label value 127, 254 in .*`values: {c0: 0, c1: 127, c2: 254}` if these are the classes",
        stored=lambda label: GAPS[label],
    ),
    "values with gaps and 255": bad(
        r"`values: {c0: 0, c1: 128, c2: 255}` and `void: null` if these",
        stored=lambda label: np.uint8([0, 128, 255])[label],
    ),
    "WebP masks": bad("it has 6 .webp, .*save them as PNG", mask="masks/{}.webp"),
    "polygons": Case(
        then(replaced("labels", ".json", b"{}"), mask="labels/{}.png"),
        refused="labels: contains no .png, .*it has 6 .json, which holds polygons or boxes: export",
    ),
    "YOLO": Case(
        then(replaced("labels", ".txt", b"0 0.5 0.5 0.1 0.1"), mask="labels/{}.png"),
        refused="6 .txt, which holds polygons",
    ),
    "NumPy masks": Case(
        then(replaced("masks", ".npy", b"")), refused="6 .npy, which is not read: save each mask"
    ),
    "some HEIC": Case(
        then(replaced("images", ".heic", b"", names=["s1", "s4"]), lists=None),
        refused="2 of 6 masks have no image in .*it has 2 .heic, which Pillow does not read",
    ),
    "some HEIC, listed": Case(
        then(replaced("images", ".heic", b"", names=["s1"])),
        refused=r"train\.txt: s1: no such image .*it has 1 .heic, which Pillow does not read",
    ),
    "empty mask": Case(
        then(replaced("masks", ".png", b"", names=["s2"])), refused=r"s2\.png: damaged"
    ),
    "masks of half the size": bad(
        r"s0\.png: is 16x12, but .*s0\.jpg is 32x24", stored=lambda label: label[::2, ::2]
    ),
    "CMYK photographs": Case(then(images_as("CMYK", "jpg", quality=95))),
    "photographs with alpha": Case(then(images_as("RGBA", "png"))),
    "GIF photographs": Case(then(images_as("P", "gif"))),
    "JPEG 2000 photographs": Case(then(images_as("RGB", "jp2"))),
    "MPO photographs": Case(
        then(
            images_as(
                "RGB",
                "jpg",
                format="MPO",
                save_all=True,
                append_images=[Image.new("RGB", SIZE[::-1])],
            )
        )
    ),
}
