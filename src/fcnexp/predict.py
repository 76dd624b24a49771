"""Label photographs: `python -m fcnexp.predict checkpoint=... input=photos`."""

from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fcnexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fcnexp.task.module import SegmentationTask


def predict(cfg: DictConfig, folder: Path) -> None:
    """Write a palette PNG per photograph, and what else is asked for. Raises UserError."""
    import torch  # slow to import, and not needed to answer --help
    from rich.progress import track

    from fcnexp import build
    from fcnexp.nn.init import read_checkpoint
    from fcnexp.task.callbacks import on_terminal

    photographs = list(find_photographs(cfg.input))
    if cfg.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch sees no GPU here; device=cpu")
    task = build.task_from_checkpoint(read_checkpoint(cfg.checkpoint), cfg.checkpoint)
    task = task.to(cfg.device)
    output = Path(cfg.output) if cfg.output else folder
    output.mkdir(parents=True, exist_ok=True)
    unread = []
    for path in track(photographs, "labelling", disable=not on_terminal()):
        try:
            label_one(task, path, output, overlay=cfg.overlay, save_scores=cfg.save_scores)
        except DataError as error:  # one bad file must not cost the others
            unread.append(error)
    names = ", ".join(f"{i} {name}" for i, name in enumerate(task.class_names))
    print(f"{len(photographs) - len(unread)} labelled in {output}; pixel values: {names}")
    if unread:
        raise DataError("; ".join(str(error) for error in unread))


def label_one(
    task: "SegmentationTask", path: Path, output: Path, *, overlay: bool, save_scores: bool
) -> None:
    """Write NAME.png and what else is asked for. Raises DataError where the file is no picture."""
    import numpy as np
    from PIL import Image

    from fcnexp.data.files import read_rgb
    from fcnexp.data.palette import save_indexed
    from fcnexp.reporting import pictures

    rgb = read_rgb(path, upright=True)
    label, scores = task.label_image(rgb)
    save_indexed(output / f"{path.stem}.png", label.numpy())
    if overlay:
        mixed = pictures.overlay(rgb.permute(1, 2, 0).numpy(), label.numpy())
        Image.fromarray(mixed).save(output / f"{path.stem}_overlay.png")
    if save_scores:
        np.savez_compressed(output / f"{path.stem}.npz", scores=scores.numpy())


def find_photographs(source: str) -> Iterator[Path]:
    """Photographs that a file, folder or pattern names, in order of name.

    Raises ConfigError where there are none, or two would write the same file.
    """
    from fcnexp.data.files import SUFFIXES

    place = Path(source)
    if place.is_file():
        found = [place]
    elif place.is_dir():
        found = [path for path in place.iterdir() if path.suffix.lower() in SUFFIXES]
    else:
        found = [Path(name) for name in glob(source, recursive=True) if Path(name).is_file()]
    if not found:
        raise ConfigError(
            f"input={source}: no photographs there; give a file, a folder or a quoted pattern, "
            f"say 'photos/*.jpg' (of a folder these are taken: {' '.join(SUFFIXES)})"
        )
    stems = [path.stem for path in found]
    twice = {stem for stem in stems if stems.count(stem) > 1}
    if twice:
        raise ConfigError(f"input={source}: two photographs are called {min(twice)}; split them")
    return iter(sorted(found))


def main() -> None:
    """Entry point."""
    from fcnexp import cli

    cli.run(predict, "predict")


if __name__ == "__main__":
    main()
