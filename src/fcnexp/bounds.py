"""Upper bounds on mean IU by stride: `python -m fcnexp.bounds data.root=VOCdevkit/VOC2012`.

Ground truth is shrunk by a factor, enlarged again and scored against itself: about the best that a
network of that stride could reach. Any validation set works; `data=shapes` needs no download.
Source: appendix A of the paper's second arXiv version, which gives no further details. Of about 200
variants, `bilinear` was chosen because it matches the published row on the paper's images, every
entry within a point; `area` and `nearest` are the obvious alternatives.

| protocol | a cell stores, for each class         | enlarged by                                   |
|----------|---------------------------------------|-----------------------------------------------|
| bilinear | the mean, weighted by a bilinear peak | bilinear interpolation, largest fraction wins |
|          | two cells wide, cut at the border     |                                               |
| area     | its fraction of the cell's pixels     | the same                                      |
| nearest  | one label, of the pixel in the middle | the label of the cell that contains the pixel |
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fcnexp.errors import ConfigError
from fcnexp.papers.published import UPPER_BOUNDS

if TYPE_CHECKING:  # imports torch, which would slow down --help
    from torch import Tensor

    from fcnexp.data.sample import Samples
    from fcnexp.task.scores import SegmentationScores

PROTOCOLS = ("bilinear", "area", "nearest")
CACHED_SIZES = 256  # image sides whose weights are cached; VOC has about 200


def bounds(cfg: DictConfig, folder: Path) -> None:
    """Print the bounds next to the paper's and write result.json. Raises UserError."""
    from fcnexp.config.checks import check_targets
    from fcnexp.config.schema import BoundsConfig
    from fcnexp.config.values import to_plain, typed
    from fcnexp.reporting.records import RESULT
    from fcnexp.system.atomic import write_atomically

    cfg = typed(cfg, BoundsConfig)
    plain = to_plain(cfg)
    factors = list(cfg.factors)
    if not factors or min(factors) < 1 or len(set(factors)) < len(factors):
        raise ConfigError(
            f"factors={factors}: must be different numbers, 1 or more; try factors=[32,16,8]"
        )
    if cfg.protocol not in PROTOCOLS:
        raise ConfigError(f"protocol={cfg.protocol}: choose one of {', '.join(PROTOCOLS)}")
    check_targets(plain)
    import torch

    from fcnexp.build import outputs_of, part

    data = part(cfg, "data")
    samples = data.val(())
    first = next(iter(outputs_of(data).values()))  # bounds are those of the first task
    scores = score_bounds(samples, first, factors, cfg.protocol)
    ours = {factor: each.compute()["miou"] for factor, each in scores.items()}
    split = cfg.data.get("val_split") or f"{type(data).__name__}'s validation set"
    print_bounds(ours, f"{cfg.protocol}, {len(samples)} label maps of {split}")
    result: dict[str, Any] = {
        "status": "done",
        "protocol": cfg.protocol,
        "data": to_plain(cfg)["data"],
        "label_maps": len(samples),
        "miou": ours,
        "paper_percent": {factor: UPPER_BOUNDS.get(factor) for factor in factors},
        "torch": torch.__version__,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RESULT, json.dumps(result, indent=2) + "\n")
    print(f"written {folder / RESULT}")


def score_bounds(
    samples: "Samples", num_classes: int, factors: list[int], protocol: str
) -> "dict[int, SegmentationScores]":
    """Scores of each factor, from a confusion matrix over all label maps. Raises DataError."""
    from rich.progress import track

    from fcnexp.task.callbacks import on_terminal
    from fcnexp.task.scores import SegmentationScores

    scores = {factor: SegmentationScores(num_classes) for factor in factors}
    for index in track(range(len(samples)), "shrinking", disable=not on_terminal()):
        label = samples.read_label(index)
        for factor, each in scores.items():
            each.update(shrink_and_enlarge(label, factor, protocol)[None], label[None])
    return scores


def shrink_and_enlarge(label: "Tensor", factor: int, protocol: str) -> "Tensor":
    """Label map after shrinking and enlarging it again, int64 (H, W).

    label: (H, W). Void counts as background (0), as a network has no such output. The class
    with the largest fraction wins; of equal ones, the lowest index.
    """
    import torch

    from fcnexp import void_of

    label = torch.where(label == void_of(label), 0, label)
    classes = label.unique()
    fractions = (label == classes[:, None, None]).float()
    (shrink_h, enlarge_h), (shrink_w, enlarge_w) = (
        axis_weights(side, factor, protocol) for side in label.shape
    )
    cells = shrink_h @ (fractions @ shrink_w.T)
    return classes[(enlarge_h @ (cells @ enlarge_w.T)).argmax(0)].long()


@lru_cache(CACHED_SIZES)
def axis_weights(side: int, factor: int, protocol: str) -> "tuple[Tensor, Tensor]":
    """Weights along one axis: pixels in cells, (cells, side), and cells in pixels, (side, cells).

    A cell is `factor` pixels wide; the first starts at pixel 0, the last may exceed the end.
    """
    import torch

    pixels = torch.arange(side, dtype=torch.float64)
    num_cells = -(-side // factor)
    home = (pixels / factor).floor()  # the cell that contains the pixel
    centre = torch.arange(num_cells, dtype=torch.float64) * factor + (factor - 1) / 2
    away = (pixels - centre[:, None]).abs() / factor  # (cells, side), in cells
    inside = (home == torch.arange(num_cells)[:, None]).double()
    if protocol == "nearest":
        # The pixel right of an even cell's middle; the last pixel if the image ends before it.
        middle = (centre + 0.5).floor().clamp(max=side - 1)
        shrink, enlarge = (pixels == middle[:, None]).double(), inside.T
    else:
        shrink = inside if protocol == "area" else (1 - away).clamp(min=0)
        # Outside the outermost centres, interpolation reduces to the outermost cell.
        enlarge = (1 - away).clamp(min=0).T
    shrink = shrink / shrink.sum(1, keepdim=True)
    enlarge = enlarge / enlarge.sum(1, keepdim=True)
    return shrink.float(), enlarge.float()


def print_bounds(ours: dict[int, float], title: str) -> None:
    """Print our bounds in percent, the paper's, and the difference."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Upper bounds on mean IU (%): {title}", title_justify="left")
    for column in ("factor", "ours", "paper", "ours - paper"):
        table.add_column(column, justify="right")
    for factor, fraction in ours.items():
        theirs = UPPER_BOUNDS.get(factor)
        apart = "-" if theirs is None else f"{100 * fraction - theirs:+.2f}"
        table.add_row(str(factor), f"{100 * fraction:.2f}", str(theirs or "-"), apart)
    Console(highlight=False).print(table)


def main() -> None:
    """Entry point."""
    from fcnexp.cli import entry

    entry.run(bounds, "bounds")


if __name__ == "__main__":
    main()
