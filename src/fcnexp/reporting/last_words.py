"""Last words of a training: where its record is, and what to type next."""

import shlex
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from fcnexp.system.checkpoint_store import LAST
from fcnexp.system.places import short


def places(folder: Path) -> list[str]:
    """Return a line for the pictures and one for the record of a run."""
    return [f"pictures  {short(folder / 'pictures')}", f"record    {short(folder)}"]


def next_commands(folder: Path, fields: Collection[str]) -> list[str]:
    """Return the commands that label an image with the run's net and report on the run.

    fields: inputs of the net. The image is one that the run has drawn, if it has drawn any; of
    bands, it draws three alone.
    """
    drawn = sorted((folder / "pictures" / "panels").glob("*/image.jpg"))
    image = "IMAGE" if "bands" in fields else short(drawn[0]) if drawn else "PHOTO"
    others = [f"fields.{name}=FOLDER" for name in fields if name not in ("rgb", "bands")]
    checkpoint = short(folder / "checkpoints" / LAST)
    label = ["fcnexp.predict", f"checkpoint={checkpoint}", *others, f"input={image}"]
    report = ["fcnexp.report", short(folder)]
    return [shlex.join([python(), "-m", *words]) for words in (label, report)]


def python() -> str:
    """Return the name of this Python: `python` if a shell finds it by that, otherwise its path."""
    found = shutil.which("python")
    same = found is not None and Path(found).parent == Path(sys.executable).parent
    return "python" if same else short(sys.executable)
