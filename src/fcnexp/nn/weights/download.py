"""Download of published weights to a cache folder, checked by digest and written atomically."""

import hashlib
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from fcnexp.errors import WeightsError
from fcnexp.nn.backbones.base import PublishedWeights
from fcnexp.system.atomic import atomic_file
from fcnexp.system.os_errors import reraise_system_error

TIMEOUT = 15  # seconds without an answer
BLOCK = 1 << 20  # bytes


def fetch(weights: PublishedWeights, folder: Path) -> Path:
    """Return the path of the weights in a folder, after downloading them if they are missing.

    Raises WeightsError, naming file and folder, if the download fails or the digest is wrong.
    """
    path = folder / weights.file
    if path.is_file():
        _check(path, weights)
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            answer = urllib.request.urlopen(weights.url, timeout=TIMEOUT)
            with answer as source, partial.open("wb") as out:
                shutil.copyfileobj(source, out, BLOCK)
            _check(partial, weights)
    except (urllib.error.URLError, OSError) as error:
        reraise_system_error(error)
        raise WeightsError(
            f"{weights.file} is not in {folder} and cannot be downloaded from {weights.url} "
            f"({getattr(error, 'reason', error)}); put it there by hand, or use init=scratch"
        ) from None
    return path


def _check(path: Path, weights: PublishedWeights) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, weights.algorithm).hexdigest()
    if not digest.startswith(weights.digest):
        raise WeightsError(
            f"{path}: its {weights.algorithm} is {digest}, but that of {weights.file} starts with "
            f"{weights.digest}: it is damaged, or a different file; remove it to fetch it again, "
            "or load it anyway with init=caffemodel init.path=..."
        )
