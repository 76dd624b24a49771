"""Upper bounds on mean IU by stride: `python -m fcnexp.bounds data.root=VOCdevkit/VOC2012`.

Truth is shrunk by a factor and enlarged again, and scored against itself: about the best a net of
that stride could reach. Any data set's scored half will do; `data=shapes` needs no files of yours.
Source: appendix A of the paper, in its second arXiv version, which says no more than that:
`bilinear` was picked, of some 200 ways, because on the paper's own images it gives the published
row, every entry within a point; `area` and `nearest` are what one tries first.

| protocol | a cell holds, of each class           | enlarged by                                  |
|----------|---------------------------------------|----------------------------------------------|
| bilinear | the mean, weighted by a bilinear peak | bilinear interpolation, highest share wins   |
|          | two cells wide, cut at the border     |                                              |
| area     | its share of the cell's pixels        | the same                                     |
| nearest  | one label, of the pixel in the middle | the label of the cell that a pixel lies in   |
"""

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fcnexp.errors import ConfigError
from fcnexp.papers.published import UPPER_BOUNDS

if TYPE_CHECKING:  # torch, which --help need not wait for
    from torch import Tensor

    from fcnexp.data.sample import Samples
    from fcnexp.task.scores import SegmentationScores

PROTOCOLS = ("bilinear", "area", "nearest")
CACHED_SIZES = 256  # sides of images whose weights are kept: VOC has some 200 of them


def bounds(cfg: DictConfig, folder: Path) -> None:
    """Print the bounds beside the paper's and write result.json. Raises UserError."""
    from fcnexp.config.checks import check_targets
    from fcnexp.config.schema import BoundsConfig
    from fcnexp.config.values import to_plain, typed
    from fcnexp.reporting.records import RESULT
    from fcnexp.system.atomic import write_atomically

    cfg = typed(cfg, BoundsConfig)
    plain = to_plain(cfg)
    factors = list(cfg.factors)
    if not factors or min(factors) < 1 or len(set(factors)) < len(factors):
        raise ConfigError(f"factors={factors}: numbers of 1 or more, each once, say [32, 16, 8]")
    if cfg.protocol not in PROTOCOLS:
        raise ConfigError(f"protocol={cfg.protocol}: there are {', '.join(PROTOCOLS)}")
    check_targets(plain)
    import torch

    from fcnexp.build import part

    data = part(cfg, "data")
    samples = data.val(())
    scores = score_bounds(samples, len(data.class_names), factors, cfg.protocol)
    ours = {factor: each.compute()["miou"] for factor, each in scores.items()}
    of_what = cfg.data.get("val_split") or f"{type(data).__name__}'s scored half"
    print_bounds(ours, f"{cfg.protocol}, {len(samples)} label maps of {of_what}")
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
    """One confusion matrix over all label maps for each factor. Raises DataError."""
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
    """The label map that is left of one after shrinking it and enlarging it again, int64 (H, W).

    label: uint8 (H, W), with VOID, which counts as background (0): a net has no such output.
    A class wins where its share is the highest, the lower index where two are equal.
    """
    import torch

    from fcnexp import VOID

    label = torch.where(label == VOID, 0, label)
    classes = label.unique()
    shares = (label == classes[:, None, None]).float()
    (shrink_h, enlarge_h), (shrink_w, enlarge_w) = (
        axis_weights(side, factor, protocol) for side in label.shape
    )
    cells = shrink_h @ (shares @ shrink_w.T)
    return classes[(enlarge_h @ (cells @ enlarge_w.T)).argmax(0)].long()


@lru_cache(CACHED_SIZES)
def axis_weights(side: int, factor: int, protocol: str) -> "tuple[Tensor, Tensor]":
    """How pixels make up cells, (cells, side), and cells pixels, (side, cells), along one axis.

    A cell is `factor` pixels, the first from the first pixel on; the last may reach over the end.
    """
    import torch

    pixels = torch.arange(side, dtype=torch.float64)
    num_cells = -(-side // factor)
    home = (pixels / factor).floor()  # the cell that a pixel lies in
    centre = torch.arange(num_cells, dtype=torch.float64) * factor + (factor - 1) / 2
    away = (pixels - centre[:, None]).abs() / factor  # (cells, side), in cells
    inside = (home == torch.arange(num_cells)[:, None]).double()
    if protocol == "nearest":
        # Of the pixels right and left of the middle the right one; short of it, the last there is.
        middle = (centre + 0.5).floor().clamp(max=side - 1)
        shrink, enlarge = (pixels == middle[:, None]).double(), inside.T
    else:
        shrink = inside if protocol == "area" else (1 - away).clamp(min=0)
        # Beyond the outer centres there is nothing to interpolate with: the outer cell alone.
        enlarge = (1 - away).clamp(min=0).T
    shrink = shrink / shrink.sum(1, keepdim=True)
    enlarge = enlarge / enlarge.sum(1, keepdim=True)
    return shrink.float(), enlarge.float()


def print_bounds(ours: dict[int, float], title: str) -> None:
    """Print ours in percent beside the paper's, and by how much they differ."""
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
