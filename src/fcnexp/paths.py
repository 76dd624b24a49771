"""Where the package finds its own files, and a run its weights."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
LAST = "last.ckpt"  # in a run's folder `checkpoints`: the weights as they were stored last
PREVIOUS = "previous.ckpt"  # beside it: those before
BEST = "best.ckpt"  # beside it, with keep_best=true: those of the highest mean IU


def conf_dir() -> Path:
    """Folder of the config groups: inside an installed wheel, or beside `src` in a checkout."""
    packed = PACKAGE / "conf"
    return packed if packed.is_dir() else PACKAGE.parents[1] / "conf"
