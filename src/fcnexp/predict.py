"""Label photographs: `python -m fcnexp.predict checkpoint=... input=photos`."""

from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fcnexp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from fcnexp.onnx_net import OnnxNet
    from fcnexp.task.module import SegmentationTask


def predict(cfg: DictConfig, folder: Path) -> None:
    """Write a palette PNG per photograph, and what else is asked for. Raises UserError."""
    from rich.progress import track  # slow to import, and not needed to answer --help

    from fcnexp.config import typed
    from fcnexp.schema import PredictConfig
    from fcnexp.task.callbacks import on_terminal

    cfg = typed(cfg, PredictConfig)
    if cfg.device not in ("cpu", "cuda"):
        raise ConfigError(f"device={cfg.device}: allowed are cpu and cuda")
    output = Path(cfg.output) if cfg.output else folder
    photographs = find_photographs(cfg.input)
    refuse_overwriting(photographs, output)
    task = net_of(cfg)
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


def net_of(cfg: DictConfig) -> "SegmentationTask | OnnxNet":
    """The net that labels, of a checkpoint or of an exported file. Raises UserError."""
    if (cfg.checkpoint is None) == (cfg.onnx is None):
        given = "neither was given" if cfg.onnx is None else "both were given"
        raise ConfigError(
            f"checkpoint, onnx: {given}; add one of them, checkpoint=RUN/checkpoints/last.ckpt or "
            "onnx=FILE.onnx"
        )
    if cfg.onnx is not None:
        from fcnexp.onnx_net import OnnxNet

        task: Any = OnnxNet(cfg.onnx, cfg.device)
        source, fields = f"onnx={cfg.onnx}", list(task.fields)
    else:
        import torch

        from fcnexp import build
        from fcnexp.nn.checkpoints import read_checkpoint

        if cfg.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device=cuda: torch sees no GPU here; device=cpu")
        task = build.task_from_checkpoint(read_checkpoint(cfg.checkpoint), cfg.checkpoint)
        task = task.to(cfg.device)
        source, fields = f"checkpoint={cfg.checkpoint}", list(task.recipe.fields)
    if fields != ["rgb"]:
        raise ConfigError(
            f"{source}: this net takes {', '.join(fields)}; predict gives photographs, rgb, only"
        )
    return task


def label_one(
    task: "SegmentationTask | OnnxNet",
    path: Path,
    output: Path,
    *,
    overlay: bool,
    save_scores: bool,
) -> None:
    """Write NAME.png and what else is asked for. Raises DataError where the file is no picture."""
    import numpy as np
    from PIL import Image

    from fcnexp.data.files import read_rgb
    from fcnexp.data.palette import save_indexed
    from fcnexp.reporting import pictures

    rgb = read_rgb(path, upright=True)
    try:
        label, scores = task.label_image({"rgb": rgb})
    except DataError as error:  # a net knows no files
        raise DataError(f"{path}: {error}") from None
    save_indexed(output / f"{path.stem}.png", label.numpy())
    if overlay:
        mixed = pictures.overlay(rgb.permute(1, 2, 0).numpy(), label.numpy())
        Image.fromarray(mixed).save(output / f"{path.stem}_overlay.png")
    if save_scores:
        np.savez_compressed(output / f"{path.stem}.npz", scores=scores.numpy())


def find_photographs(source: str) -> list[Path]:
    """Photographs that a file, folder or pattern names, in order of name.

    Raises ConfigError where there are none.
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
    return sorted(found)


def refuse_overwriting(photographs: list[Path], output: Path) -> None:
    """Raise ConfigError where a result would replace a photograph or another's result."""
    written: set[Path] = set()
    taken = {path.resolve() for path in photographs}
    for path in photographs:
        for name in (f"{path.stem}.png", f"{path.stem}_overlay.png", f"{path.stem}.npz"):
            target = (output / name).resolve()
            if target in taken:
                raise ConfigError(
                    f"output={output}: {name} would replace a photograph; choose another"
                )
            if target in written:
                raise ConfigError(
                    f"{path}: {name} is another photograph's result already; rename it"
                )
            written.add(target)


def main() -> None:
    """Entry point."""
    from fcnexp import cli

    cli.run(predict, "predict")


if __name__ == "__main__":
    main()
