"""Made-up label maps, predictions, and the records that a scoring keeps of them."""

import numpy as np

from fcnexp import VOID
from fcnexp.scoring.objects import objects_of
from fcnexp.scoring.per_image import OBJECTS, WHOLE, ImageRecord, PerImage, joined, sparse

NAMES = ("background", "disc", "ring", "bar")


def random_maps(seed: int, images: int, *, right=0.6, void=0.1, side=12, classes=4):
    """Blocky label maps and predictions that are right in this share of the blocks."""
    rng = np.random.default_rng(seed)
    labels, predictions = [], []
    for _ in range(images):
        coarse = rng.integers(0, classes, (side // 3, side // 3))
        other = np.where(rng.random(coarse.shape) < right, coarse, rng.integers(0, classes))
        label, guess = (np.kron(each, np.ones((3, 3), int)) for each in (coarse, other))
        label[rng.random(label.shape) < void] = VOID
        labels.append(label.astype(np.uint8))
        predictions.append(guess.astype(np.uint8))
    return labels, predictions


def counted(label, prediction, classes: int) -> np.ndarray:
    """Confusion matrix of one image, int64."""
    seen = label != VOID
    cells = label[seen].astype(int) * classes + prediction[seen]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def per_image_of(labels, predictions, classes=NAMES, names=None) -> PerImage:
    """Records of several images, as a scoring would keep them."""
    names = names or [f"val_{i}" for i in range(len(labels))]
    records = [
        ImageRecord(name, {WHOLE: sparse(counted(*maps, len(classes))), OBJECTS: objects_of(*maps)})
        for name, *maps in zip(names, labels, predictions, strict=True)
    ]
    return joined(records, classes)


def random_record(seed: int, images: int = 12, **settings) -> PerImage:
    return per_image_of(*random_maps(seed, images, **settings))
