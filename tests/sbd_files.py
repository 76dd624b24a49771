"""MATLAB files like SBD's, and random labels for them."""

from io import BytesIO

import numpy as np
import scipy.io
from scipy.sparse import csc_array


def like_sbd(label: np.ndarray, *, compressed: bool = True, **others) -> bytes:
    """A file with SBD's fields: boundaries of 20 classes, the label, the classes present."""
    boundaries = np.empty((20, 1), object)
    for k in range(20):
        boundaries[k, 0] = csc_array((label == k).astype(np.uint8))
    fields = {
        "Boundaries": boundaries,
        "Segmentation": label,
        "CategoriesPresent": np.unique(label)[:, None],
    }
    buffer = BytesIO()
    scipy.io.savemat(buffer, {"GTcls": fields, **others}, do_compression=compressed)
    return buffer.getvalue()


def made_up(*size: int) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 21, size, dtype=np.uint8)
