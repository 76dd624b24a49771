"""Data sets with one bad file each, and every bad file on its own, with the expected outcome.

The outcome is a value, or, as text, a pattern of the error message.
"""

from functools import partial

import numpy as np
import torch
from bad_files import (
    DAMAGED,
    DEPTH16,
    DEPTHS,
    HHAS,
    IMAGES,
    LABELS,
    LISTS,
    NYUD_LABELS,
    PNG,
    SBD_LABELS,
    TURNED,
    ZEROS,
)
from fake_data import (
    LABEL,
    encoded,
    nyud_tree,
    own_tree,
    palette_png,
    plain,
    sbd,
    sbd_tree,
    voc_tree,
)

from fcnexp.data.files import (
    check_label,
    read_depth,
    read_hha,
    read_label_mat,
    read_label_png,
    read_rgb,
)
from fcnexp.data.lists import read_ids
from fcnexp.data.nyud import nyud_segmentation, read_nyud_label
from fcnexp.data.own import Folder
from fcnexp.data.splits import Voc
from fcnexp.data.voc import sbd_segmentation


def deleted(place: str):
    return lambda root: (root / place).unlink()


def written(place: str, content: bytes):
    return lambda root: (root / place).write_bytes(content)


def made_folder(place: str):
    return lambda root: ((root / place).unlink(), (root / place).mkdir())


def coloured(mask: bytes):
    """Use this mask for both images, and declare colours."""
    colours = ROAD + b"colours: [[0, 0, 0], [128, 64, 128]]\n"
    files = {"classes.yaml": colours, "masks/a.png": mask, "masks/b.png": mask}
    return lambda root: [written(place, content)(root) for place, content in files.items()]


ROAD = b"classes: [background, road]\n"
FIELDS = ("rgb", "depth", "hha")
SETS = {
    "VOC": (voc_tree, lambda root: Voc(str(root), "train", "val").train(FIELDS)),
    "SBD": (sbd_tree, lambda root: sbd_segmentation(root, "train", 21)),
    "NYUD": (nyud_tree, lambda root: nyud_segmentation(root, "test", FIELDS)),
    "own": (own_tree, lambda root: Folder(str(root), None, None, 0.2).train(FIELDS)),
}
TREES = {
    "VOC image gone": (deleted("JPEGImages/a.jpg"), r"a\.jpg: no such image \(1 of 1 .*; choose a"),
    "VOC label gone": (
        deleted("SegmentationClass/a.png"),
        r"a\.png: no such label \(1 of 1 .*; choose",
    ),
    "VOC label of other size": (
        written("SegmentationClass/a.png", palette_png(LABEL.T.copy())),
        r"a\.png: is 2x3, but .*a\.jpg is 3x2 .width x height.; an image, .* the same size",
    ),
    "VOC image turned by EXIF keeps its label": (
        written("JPEGImages/a.jpg", plain("RGB", 0, "JPEG", exif=TURNED)),
        LABEL.tolist(),
    ),
    "VOC label is a folder": (
        made_folder("SegmentationClass/a.png"),
        r"a\.png: not a regular file, so no label",
    ),
    "VOC lists overlap": (
        written("ImageSets/Segmentation/val.txt", b"b\na\n"),
        "train and val share 1 images, a first; .* choose disjoint lists",
    ),
    "VOC lists overlap by a folder": (
        written("ImageSets/Segmentation/val.txt", b"../JPEGImages/a\n"),
        r"val\.txt: \.\./JPEGImages/a has a folder",
    ),
    "VOC list gone": (
        deleted("ImageSets/Segmentation/train.txt"),
        r"train: no such list in .* \(it has val\); set data\.\*_split to one of these",
    ),
    "VOC list with extensions": (
        written("ImageSets/Segmentation/train.txt", b"a.jpg\n"),
        r"a\.jpg\.jpg: no such image \(1 of 1 listed ids",
    ),
    "SBD label gone": (deleted("cls/c.mat"), r"c\.mat: no such label \(1 of 2 .*; choose"),
    "SBD label of other size": (
        written("cls/c.mat", sbd(ZEROS[:, :2])),
        r"c\.mat: is 2x2, but .*jpg",
    ),
    "SBD value 21": (
        written("cls/c.mat", sbd(ZEROS + np.uint8(21))),
        r"c\.mat: label value 21 in 6 pixels; allowed are 0 to 20",
    ),
    "NYUD HHA gone": (
        deleted("data/hha/img_5001.png"),
        r"hha.img_5001\.png: no such hha image \(1 of 2",
    ),
    "NYUD HHA of other size": (
        written("data/hha/img_5001.png", plain("RGB", 0)),
        r"hha.img_5001\.png: is 3x2, but .*images.img_5001\.png is 24x20",
    ),
    "NYUD depth of other size": (
        written("data/depth/img_5001.png", encoded(DEPTH16, "PNG")),
        r"depth.img_5001\.png: is 3x2, but .* is 24x20",
    ),
    "own mask gone": (
        deleted("masks/a.png"),
        r"a\.jpg: 1 of 1 images have no mask in .*masks.*; the mask of .* is masks/NAME\.png",
    ),
    "own image gone": (
        deleted("images/a.jpg"),
        r"train\.txt: a: no such image \(1 of 1 .*list file names in images, such as b\.",
    ),
    "own name twice": (
        written("images/a.png", PNG),
        r"a\.png: a\.jpg has the same name except for the extension; rename",
    ),
    "own lists overlap": (
        written("val.txt", b"a.jpg"),
        "share 1 images, a first; .* scored: remove them from one of the two lists$",
    ),
    "own list empty": (written("train.txt", b""), r"train\.txt: the list is empty; list one"),
    "own list repeats an image": (
        written("train.txt", b"a\na.jpg"),
        r"train\.txt: a is listed twice",
    ),
    "own list with another folder": (
        written("train.txt", b"photos/a"),
        r"train\.txt: photos/a: no such im",
    ),
    "own classes gone": (deleted("classes.yaml"), r"classes\.yaml: no such file; write `classes:"),
    "own classes binary": (written("classes.yaml", PNG), r"classes\.yaml: not YAML .*; write `cl"),
    "own mask of other size": (
        written("masks/a.png", palette_png(LABEL.T.copy())),
        r"a\.png: is 2x3, but .*a\.jpg is 3x2",
    ),
    "own mask of too many classes": (
        written("classes.yaml", ROAD),
        r"a\.png: label value 15, 20 in 2 pixels; allowed are 0 to 1 \(2 classes\)",
    ),
    "own mask empty": (written("masks/a.png", b""), DAMAGED),
    "own mask JPEG": (written("masks/a.png", plain("RGB", 0, "JPEG")), "JPEG compression mixes"),
    "own mask of undeclared colours": (
        written("masks/a.png", plain("RGB", "red")),
        r"a\.png: mask of colours, but classes\.yaml declares none; add `colours: {c0:",
    ),
    "own mask of an unknown colour": (
        coloured(plain("RGB", (1, 2, 3))),
        r"a\.png: 1 colours .* does not declare: \[1, 2, 3\] in 6 pixels; add them",
    ),
    "own mask transparent": (
        coloured(plain("RGBA", 0)),
        r"a\.png: 6 pixels are transparent; save the mask without alpha",
    ),
    "own mask of declared colours": (coloured(plain("RGB", (128, 64, 128))), [[1] * 3] * 2),
    "own image CMYK": (written("images/a.jpg", plain("CMYK", 0, "JPEG")), LABEL.tolist()),
}  # the first word of each is a key of SETS


def shape_and_corner(tensor: torch.Tensor) -> tuple[tuple[int, ...], list[int]]:
    return tuple(tensor.shape), tensor[:, 0, 0].tolist()


def voc_label(path):
    return check_label(read_label_png(path), path, 21).tolist()


READERS = {
    "image": ("a.jpg", lambda path: shape_and_corner(read_rgb(path)), IMAGES),
    "label": ("a.png", voc_label, LABELS),
    "SBD label": ("a.mat", lambda path: read_label_mat(path).tolist(), SBD_LABELS),
    "NYUD label": ("a.mat", lambda path: read_nyud_label(path).tolist(), NYUD_LABELS),
    "list": ("a.txt", read_ids, LISTS),
    "depth": ("a.png", lambda path: read_depth(path).tolist(), DEPTHS),
    "HHA": ("a.png", lambda path: shape_and_corner(read_hha(path)), HHAS),
}


def of_file(root, name, read, content):
    (root / name).write_bytes(content)
    return read(root / name)


def of_tree(root, kind, damage):
    tree, read = SETS[kind]
    damage(tree(root))
    return read(root)[0].label.tolist()


CASES = {
    f"{kind}: {case}": (partial(of_file, name=name, read=read, content=content), expected)
    for kind, (name, read, cases) in READERS.items()
    for case, (content, expected) in cases.items()
} | {
    case: (partial(of_tree, kind=case.split()[0], damage=damage), expected)
    for case, (damage, expected) in TREES.items()
}
