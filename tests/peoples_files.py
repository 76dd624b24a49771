"""Small data sets as people and common tools keep them, each with what a reader must make of it.

A case is a function that writes a folder of six scenes, options of `Folder`, and a pattern of the
error message, or None if every scene must be read as it was drawn.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from peoples_folders import (
    SIZE,
    TURNS,
    colours,
    decomposed,
    deep_png,
    grey_rgb,
    mac_files,
    overview,
    pages,
    panoptic,
    save,
    scene,
    then,
    turned,
    unpacked,
    with_alpha,
    write,
)


class Case(NamedTuple):
    write: Callable[[Path], object]
    options: dict[str, object] = {}
    refused: str | None = None
    size: tuple[int, int] = SIZE
    classes: int = 3
    drawn: Callable[[np.ndarray], np.ndarray] = lambda label: label


TURNED = "stored turned .EXIF orientation {}.*look at both, then set data.upright=true"
BINARY = {"classes": 2, "yaml": "classes: [bg, lesion]", "stored": lambda label: label * 255}
DECLARED = BINARY | {
    "yaml": "classes: [bg, lesion]\nvalues: {bg: 0, lesion: 255}\nvoid: null",
}
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nc1:250,50,83::\nc2:51,221,255::\n"
VOC = {"image": "JPEGImages/{}.jpg", "mask": "SegmentationClass/{}.png", "yaml": None}
VOC |= {"lists_in": "ImageSets/Segmentation"}
CVAT = VOC | {"stored": colours((0, 0, 0), (250, 50, 83), (51, 221, 255))}
RED = "colours: {c0: transparent, c1: [255, 0, 0], c2: [0, 255, 0]}"
CLEAR = {"stored": colours((9, 9, 9, 0), (255, 0, 0, 255), (0, 255, 0, 255))}


def ok(**options) -> Case:
    classes = options.get("classes", 3)
    return Case(partial(write, **options), classes=classes)


def bad(message: str, **options) -> Case:
    return Case(partial(write, **options), refused=message)


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(content)


CASES = {
    "as documented": ok(),
    "0 and 255 undeclared": bad(
        r"s0\.png: .*0 and 255 alone.*lesion would have no pixel; .*"
        r"`values: {bg: 0, lesion: 255}` and `void: null`",
        **BINARY,
    ),
    "0 and 255 declared": ok(**DECLARED),
    "0 and 65535 in 16 bits": ok(
        classes=2,
        yaml="classes: [bg, lesion]\nvalues: {bg: 0, lesion: 65535}",
        stored=lambda label: label.astype(np.uint16) * 65535,
    ),
    "one bit": ok(classes=2, yaml="classes: [bg, lesion]", stored=lambda label: label > 0),
    "one bit, 255 declared": ok(**DECLARED | {"stored": lambda label: label > 0}),
    "labels begin at 1": bad(
        r"label value 3 .*`values: {c0: 1, c1: 2, c2: 3}`", stored=lambda label: label + 1
    ),
    "labels begin at 1, declared": ok(
        yaml="classes: [c0, c1, c2]\nvalues: [1, 2, 3]", stored=lambda label: label + 1
    ),
    "void is 11": Case(
        partial(
            write,
            yaml="classes: [c0, c1, c2]\nvoid: 11",
            stored=lambda label: np.where(np.indices(label.shape)[1] < 1, 11, label).astype("u1"),
        ),
        drawn=lambda label: np.where(np.indices(label.shape)[1] < 1, 255, label),
    ),
    "16-bit masks": ok(stored=lambda label: label.astype(np.uint16)),
    "16-bit TIFF masks": ok(mask="masks/{}.tif", stored=lambda label: label.astype(np.uint16)),
    "16-bit mask of large values": bad(
        "label value 300, 600 in", stored=lambda label: label.astype(np.uint16) * 300
    ),
    "16-bit void is 65535": Case(
        partial(
            write,
            yaml="classes: [c0, c1, c2]\nvoid: 65535",
            stored=lambda label: np.where(label == 2, np.uint16(65535), label),
        ),
        drawn=lambda label: np.where(label == 2, 255, label),
    ),
    "grey with alpha": ok(stored=with_alpha),
    "grey with half alpha": bad("768 pixels are transparent", stored=partial(with_alpha, alpha=9)),
    "grey saved as RGB": ok(stored=grey_rgb),
    "BMP masks": ok(mask="masks/{}.bmp"),
    "TIFF masks": ok(mask="masks/{}.tif"),
    "GIF masks": ok(mask="masks/{}.gif"),
    "GIF masks of 0 and 2": Case(  # whose palette is black and 2, at 0 and 1
        partial(write, mask="masks/{}.gif", stored=lambda label: np.where(label == 1, 0, label)),
        drawn=lambda label: np.where(label == 1, 0, label),
    ),
    "JPEG masks": bad("contains no .png, .*JPEG changes the values", mask="masks/{}.jpg"),
    "transparent background": bad(
        "are transparent; .*`colours: {c0: transparent",
        yaml="classes: [c0, c1, c2]\ncolours: [[0, 0, 0], [255, 0, 0], [0, 255, 0]]",
        **CLEAR,
    ),
    "transparent background, declared": ok(yaml=f"classes: [c0, c1, c2]\n{RED}", **CLEAR),
    "panoptic": bad("COCO panoptic PNGs, .* are not read: convert them", stored=panoptic),
    "panoptic, colours declared": Case(
        then(
            text("panoptic_val2017.json", "{}"),
            yaml="classes: [c0, c1, c2]\ncolours: [[0, 0, 0], [255, 0, 0], [0, 255, 0]]",
            stored=panoptic,
        ),
        refused=r"3 colours that classes\.yaml .*; COCO panoptic PNGs, .*: convert them",
    ),
    "panoptic, as unpacked": bad(
        r"COCO panoptic PNGs, .*: convert them",
        image="val2017/{}.jpg",
        mask="panoptic_val2017/{}.png",
        lists=None,
    ),
    "NAME_mask": ok(mask="masks/{}_mask.png"),
    "NAME_gt.tif": ok(mask="masks/{}_gt.tif"),
    "mask_NAME, no lists": ok(
        mask="masks/{half}/mask_{}.png", image="images/{half}/{}.jpg", lists=None
    ),
    "any word": ok(mask="masks/{}-drawn-by-ann.png"),
    "numbers are not words": bad(
        r"1\.jpg: 4 of 4 images have no mask", names=list("123456"), mask="masks/1{}.png"
    ),
    "two masks each": Case(
        then(lambda root: write(root, mask="masks/{}_seen.png"), mask="masks/{}_true.png"),
        refused=r"may be NAME_seen or NAME_true; choose with data\.masks=NAME_seen\.png",
    ),
    "two masks each, told": Case(
        then(
            lambda root: write(root, mask="masks/{}_seen.png", stored=lambda label: label * 0),
            mask="masks/{}_true.png",
        ),
        {"masks": "NAME_true.png"},
    ),
    "pattern of classes.yaml": Case(
        then(
            lambda root: write(
                root,
                mask="masks/{}_2.tif",
                yaml="classes: [c0, c1, c2]\nmasks: NAME_2.tif",
            ),
            mask="masks/{}_1.png",
        )
    ),
    "pattern without NAME": Case(write, {"masks": "_mask.png"}, "masks=_mask.png: must be a file"),
    "one mask is missing": Case(
        then(lambda root: (root / "masks/s2_mask.png").unlink(), mask="masks/{}_mask.png"),
        refused=r"s2\.jpg: 1 of 4 images have no mask .* is masks/NAME_mask\.png: rename",
    ),
    "folders train and val": ok(
        image="images/{half}/{}.jpg", mask="masks/{half}/{}.png", lists=None
    ),
    "folders train and val outside": ok(
        image="{half}/imgs/{}.jpg", mask="{half}/Labels/{}.png", lists=None
    ),
    "folders and masks beside": ok(
        image="{half}/{}.jpg", mask="{half}_masks/{}_mask.gif", lists=None
    ),
    "flat folders train and val": ok(image="{half}/{}.jpg", mask="{half}/{}_mask.png", lists=None),
    "flat folder": ok(image="{}.jpg", mask="{}_mask.png"),
    "flat folder of JPEG and PNG": ok(image="{}.jpg", mask="{}.png"),
    "flat folder of images alone": bad(
        "no name says which are masks", mask="else/{}.txt.png", image="{}.jpg"
    ),
    "folders with the same names": Case(
        then(
            lambda root: save(scene(0)[0], root / "images/val/s0.jpg"),
            image="images/{half}/{}.jpg",
            mask="masks/{half}/{}.png",
            lists=None,
        ),
        refused=r"val.s0\.jpg: .*train.s0\.jpg has the same name.*rename .* val_s0\.jpg",
    ),
    "a folder of masks is missing": bad(
        r"masks.val: no such folder; put the masks of .*images.val there",
        image="images/{half}/{}.jpg",
        mask="masks/train/{}.png",
        lists=None,
    ),
    "lists with paths": ok(lists="images/{}.jpg"),
    "lists with paths from elsewhere": ok(lists="/home/ann/pets/images/{}.jpg"),
    "lists with backslashes": ok(lists="C:\\pets\\images\\{}.jpg"),
    "lists of another folder": bad(r"train\.txt: photos/s0: no such image", lists="photos/{}"),
    "lists in two columns": ok(lists="images/{0}.jpg masks/{0}.png"),
    "lists in two columns, masks of other names": ok(
        lists="{0}.jpg,masks/{0}7.png", mask="masks/{}7.png"
    ),
    "lists with quotes": ok(lists='"{}.jpg"'),
    "UTF-16 lists": ok(encoding="utf-16"),
    "names with spaces": ok(names=[f"my cat {i}" for i in range(6)]),
    "decomposed names": Case(decomposed),
    "files of macOS and Windows": Case(then(mac_files)),
    "unpacked archive": Case(unpacked),
    "CVAT": Case(then(text("labelmap.txt", LABELMAP), **CVAT)),
    "CVAT, broken": Case(
        then(text("labelmap.txt", "background\n"), **CVAT),
        refused=r"labelmap\.txt: background: write name:red,green,blue:: for each class",
    ),
    "labelme2voc": Case(
        then(
            text("class_names.txt", "_background_\nc1\nc2\n"),
            **VOC | {"mask": "SegmentationClassPNG/{}.png"},
        )
    ),
    "classes.yaml of Windows": Case(
        then(lambda root: (root / "classes.yaml").write_text("classes: [a, b, c]", "utf-16"))
    ),
    "TIFF images of two pages": Case(
        then(pages("images")), refused=r"s0\.tif: TIFF of 2 pages.*save each page"
    ),
    "TIFF masks of two pages": Case(
        then(pages("masks")), refused=r"s0\.tif: TIFF of 2 pages; save the mask"
    ),
    "TIFF images with overviews": Case(then(overview)),
    "16-bit colour": Case(
        then(deep_png), refused=r"s0\.jpg: colour image with more than 8 bits .*; save it with 8"
    ),
    "EXIF 180 degrees": Case(turned(3), refused=rf"s\d\.jpg: {TURNED.format(3)}"),
    "EXIF 180 degrees, drawn upright": Case(turned(3), {"upright": True}),
    "EXIF 180 degrees, drawn as stored": Case(
        turned(3, masks_too=True), {"upright": False}, drawn=TURNS[3]
    ),
    "EXIF of a square": Case(turned(6, (32, 32)), refused=TURNED.format(6), size=(32, 32)),
    "EXIF of a square, drawn upright": Case(turned(6, (32, 32)), {"upright": True}, size=(32, 32)),
    "EXIF TIFF, drawn as stored": Case(
        turned(4, form="tif", masks_too=True), {"upright": False}, drawn=TURNS[4]
    ),
    "EXIF TIFF untold": Case(turned(2, form="tif"), refused=TURNED.format(2)),
} | {
    f"EXIF {turn} in {form}, masks {how}": Case(
        turned(turn, form=form, masks_too=too), drawn=TURNS[turn] if too else lambda label: label
    )
    for turn in (5, 6, 7, 8)
    for form in ("jpg", "png", "tif")
    for how, too in (("upright", False), ("as stored", True))
}
