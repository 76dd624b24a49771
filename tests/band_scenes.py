"""Made-up images of five bands in the layout of data=folder: near infrared tells a class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

BANDS = 5
OPTIONS = ["backbone=tiny", "model=fcn8s", "regime.steps=2"]
OPTIONS += ["regime.score_every=2", "regime.batch_size=2", "workers=0", "trainer=cpu", "logger=csv"]
Save = Callable[[Path, np.ndarray], None]  # given a path without suffix, and (H, W, 5) uint16


def scene(seed: int, height: int = 40, width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Image, uint16 (H, W, 5), and mask, uint8 (H, W): a field reflects more in band 4."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    top, left = rng.integers(4, 16, 2)
    mask[top : top + 20, left : left + 20] = 1
    level = np.array([900, 1100, 1000, 1500, 300]) + 100 * rng.integers(0, 3)
    image = level + rng.normal(0, 60, (height, width, BANDS))
    image[..., 3] += 2000.0 * mask
    return image.clip(1, 65535).astype(np.uint16), mask


def save_npy(place: Path, image: np.ndarray) -> None:
    """As .npy, bands last."""
    np.save(place.with_suffix(".npy"), image)


def write_scenes(root: Path, save: Save = save_npy, train: int = 6, val: int = 2) -> Path:
    """Write scenes with lists, and return the folder."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.yaml").write_text("classes: [soil, field]\n")
    names = [f"scene{i}" for i in range(train + val)]
    for seed, name in enumerate(names):
        image, mask = scene(seed)
        save(root / "images" / name, image)
        Image.fromarray(mask).save(root / f"masks/{name}.png")
    (root / "train.txt").write_text("\n".join(names[:train]) + "\n")
    (root / "val.txt").write_text("\n".join(names[train:]) + "\n")
    return root
