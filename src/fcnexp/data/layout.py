"""Finding a data set: its folder and its lists."""

from pathlib import Path

from fcnexp.errors import DataError


def find_layout(root: Path, folders: tuple[str, ...], key: str) -> Path:
    """The folder, at or shortly below root, that holds all these. Raises DataError if none does."""
    root = root.expanduser()
    if not root.is_dir():
        raise DataError(
            f"{key}={root}: no such folder; give the folder that holds {' and '.join(folders)}, or "
            "try scale=small, or data=shapes, which need no download"
        )
    known = ("", "VOCdevkit/VOC2012", "VOC2012", "TrainVal/VOCdevkit/VOC2011", "VOCdevkit/VOC2011")
    for place in (*known, "benchmark_RELEASE/dataset", "dataset"):
        if all((root / place / folder).is_dir() for folder in folders):
            return root / place
    missing = [folder for folder in folders if not (root / folder).is_dir()]
    raise DataError(
        f"{key}={root}: holds no {' and '.join(missing)}; give the folder that holds "
        f"{' and '.join(folders)}"
    )


def split_file(folder: Path, split: str) -> Path:
    """The list of a split, by name in the folder or by path. Raises DataError naming all others."""
    named = folder / f"{split}.txt"
    if named.is_file():
        return named
    own = Path(split).expanduser()
    if own.is_file():
        return own
    there = ", ".join(sorted(path.stem for path in folder.glob("*.txt"))) or "none"
    raise DataError(
        f"{split}: no such list in {folder}; data.*_split may be {there}, or a file of your own"
    )
