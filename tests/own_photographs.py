"""Photographs and masks in the layout of docs/OWN_DATA.md.

python tests/own_photographs.py VOC FOLDER  writes ten cats and ten dogs of VOC
"""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fcnexp import VOID

Named = tuple[str, torch.Tensor, torch.Tensor]  # image (3, H, W), mask (H, W)


def write_own_data(folder: Path, photographs: Iterable[Named]) -> None:
    """Write the first twenty photographs, with three classes, in the layout of data=folder."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for name, rgb, label in itertools.islice(photographs, 20):
        image = Image.fromarray(rgb.permute(1, 2, 0).numpy())
        image.save(folder / f"images/{name}.jpg", quality=95)
        mask = torch.where(label == VOID, VOID, label.clamp(max=2)).to(torch.uint8)
        Image.fromarray(mask.numpy()).save(folder / f"masks/{name}.png")
    (folder / "classes.yaml").write_text("classes: [background, cat, dog]\n")


def cats_and_dogs(voc: Path) -> Iterator[Named]:
    """Yield ten photographs each that show a large cat or dog and no other class."""
    numbers = {8: 1, 12: 2}  # VOC's cat and dog
    missing = dict.fromkeys(numbers, 10)
    names = (voc / "ImageSets/Segmentation/pairs_train.txt").read_text().split()
    for name in names:
        label = torch.from_numpy(np.array(Image.open(voc / f"SegmentationClass/{name}.png")))
        shown = set(label.unique().tolist()) - {0, VOID}
        if len(shown) != 1 or not missing.get(one := shown.pop()) or (label == one).sum() < 15000:
            continue
        missing[one] -= 1
        rgb = torch.from_numpy(np.array(Image.open(voc / f"JPEGImages/{name}.jpg")))
        yield name, rgb.permute(2, 0, 1), torch.where(label == one, numbers[one], label)


if __name__ == "__main__":
    write_own_data(Path(sys.argv[2]), cats_and_dogs(Path(sys.argv[1])))
