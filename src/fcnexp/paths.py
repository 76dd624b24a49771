"""Where the package finds its own files."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def conf_dir() -> Path:
    """Folder of the config groups: inside an installed wheel, or beside `src` in a checkout."""
    packed = PACKAGE / "conf"
    return packed if packed.is_dir() else PACKAGE.parents[1] / "conf"
