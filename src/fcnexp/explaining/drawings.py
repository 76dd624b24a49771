"""Drawings of `explain figure=...`, made with matplotlib from plain arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcnexp.reporting.pictures import captions_of, colour
from fcnexp.system.atomic import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers tell apart.
LINES = ("#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9")
OUTSIDE = "#e6e6e6"
DPI = 110
HEAT = "inferno"
TINY = np.finfo(float).tiny  # avoids division by 0
Box = tuple[int, int, int, int]  # top, left, bottom, right, in pixels
CLIPPED = 99.5  # percentile of a gradient with full brightness: single pixels exceed all others


def draw_receptive_fields(
    path: Path, rgb: np.ndarray, fields: Sequence[Any], fraction: float
) -> None:
    """Draw receptive fields and, if measured, their gradients on an image.

    rgb: uint8 (H, W, 3). fields: `nn.inspection.receptive_field.ReceptiveField`s. fraction: of the
    gradient in `effective_side`.
    """
    measured = [each for each in fields if each.gradient is not None]
    columns = -(-len(measured) // 2)
    aspect = rgb.shape[0] / rgb.shape[1]
    height = max(7.0, 2 * (4.2 * aspect + 0.8)) if columns else 7.5
    figure = _figure(8 + 4.2 * columns, height)
    if not columns:
        _draw_squares(figure, rgb, fields)
    else:
        ratios = [8, 4.2 * columns]
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=ratios)[0]
        _draw_squares(left, rgb, fields)
        panels = right.subplots(2, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, each, line in zip(panels, measured, _cycle(len(measured)), strict=False):
            _draw_gradient(axes, rgb, each, line)
            effective = f"{fraction:.0%} of gradient in {each.effective_side}"
            axes.set_title(f"{each.name}: {each.side:g} in theory,\n{effective}")
    _save(figure, path)


def draw_class_maps(
    path: Path, rgb: np.ndarray, maps: np.ndarray, titles: Sequence[str], box: Box, cells: str
) -> None:
    """Draw an image and a probability map of each class on it.

    rgb: uint8 (H, W, 3). maps: one per class (n, H, W), in [0, 1]; titles: their titles. box:
    pixels that the map's cells cover, outside of which nothing is drawn. cells: number of cells, as
    text.
    """
    top, left, bottom, right = box
    inside = np.zeros(maps.shape[1:])
    inside[top:bottom, left:right] = 1
    count = len(maps) + 1
    tall = rgb.shape[0] > rgb.shape[1]
    rows = 1 if count <= 2 or tall else 2
    columns = -(-count // rows)
    height = 5.2 if tall else 5.2 * rgb.shape[0] / rgb.shape[1]
    width = height * rgb.shape[1] / rgb.shape[0]
    figure = _figure((width + 0.8) * columns, rows * (height + 0.6))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    panels[0].imshow(rgb)
    panels[0].plot([left, right, right, left, left], [top, top, bottom, bottom, top], "w--")
    panels[0].set_title(f"{rgb.shape[0]} x {rgb.shape[1]} pixels,\n{cells}")
    for axes, heat, title in zip(panels[1:], maps, titles, strict=False):
        peak = max(heat.max(), TINY)
        shown = _overlay(axes, rgb, heat / peak, top=peak, where=inside)
        figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.02, label="probability")
        axes.set_title(title)
    for axes in panels:
        axes.set_axis_off()
    _save(figure, path)


def draw_stages(
    path: Path,
    rgb: np.ndarray,
    truth: np.ndarray | None,
    stages: Sequence[tuple[str, np.ndarray]],
    class_names: Sequence[str],
) -> None:
    """Draw the labels predicted after each fusion, and below them the pixels that it changed.

    rgb: uint8 (H, W, 3). truth: (H, W). stages: title and labels, (H, W), of each.
    """
    first = [("image", rgb)] + ([] if truth is None else [("ground truth", colour(truth))])
    columns = len(first) + len(stages)
    figure = _figure(3.4 * columns, 2 * (3.4 * rgb.shape[0] / rgb.shape[1] + 0.5) + 0.5)
    panels = figure.subplots(2, columns, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    shown = [*first, *((title, colour(label)) for title, label in stages)]
    for axes, (title, picture) in zip(panels[0], shown, strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=10)
    before = None
    for axes, (_, label) in zip(panels[1][len(first) :], stages, strict=True):
        if before is not None:
            changed = label != before
            dark = (0.45 * rgb).astype(np.uint8)
            axes.imshow(np.where(changed[..., None], colour(label), dark), interpolation="nearest")
            axes.set_title(f"changed: {changed.mean():.1%} of pixels", fontsize=10)
        before = label
    _add_legend(panels[1][0], [label for _, label in stages], truth, class_names)
    _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # slow to import

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as part:
        figure.savefig(part, dpi=DPI)


def _cycle(count: int) -> list[str]:
    return [LINES[i % len(LINES)] for i in range(count)]


def _draw_squares(figure: Any, rgb: np.ndarray, fields: Sequence[Any]) -> None:
    """Draw all squares on the image, the largest first, and a cross at the coarsest cell."""
    axes = figure.subplots()
    axes.imshow(rgb)
    for each, line in zip(reversed(fields), reversed(_cycle(len(fields))), strict=True):
        _square(axes, each.centre, each.side, line, label=f"{each.name}: {each.side:g} pixels")
    axes.plot(*fields[-1].centre[::-1], "+", color="#ffffff", markersize=12, markeredgewidth=2)
    ends = []  # of each axis, so that squares fit that extend beyond the image, into its padding
    for axis in (0, 1):
        low = [each.centre[axis] - each.side / 2 for each in fields]
        high = [each.centre[axis] + each.side / 2 for each in fields]
        ends.append((min(-0.5, *low), max(rgb.shape[axis] - 0.5, *high)))
    (top, bottom), (left, right) = ends
    axes.set(xlim=(left - 8, right + 8), ylim=(bottom + 8, top - 8), facecolor=OUTSIDE)
    inside = top == left == -0.5 and (bottom + 0.5, right + 0.5) == rgb.shape[:2]
    axes.set_title("receptive fields" + ("" if inside else "; grey: beyond the image"))
    figure.legend(loc="outside lower center", ncols=2)


def _draw_gradient(axes: "Axes", rgb: np.ndarray, each: Any, line: str) -> None:
    """Draw the square root of one gradient on the image, so that faint parts are visible."""
    heat = each.gradient.numpy()
    _overlay(axes, rgb, np.sqrt(heat / max(np.percentile(heat, CLIPPED), TINY)))
    _square(axes, each.centre, each.side, line)
    _square(axes, each.centre, each.effective_side, "#ffffff", style="--")
    axes.set(xlim=(-0.5, rgb.shape[1] - 0.5), ylim=(rgb.shape[0] - 0.5, -0.5))


def _square(
    axes: "Axes",
    centre: tuple[float, float],
    side: float,
    line: str,
    *,
    label: str | None = None,
    style: str = "-",
) -> None:
    """Draw a square around a centre; pixel 0 spans -0.5 to 0.5, as in matplotlib's images."""
    from matplotlib.patches import Rectangle

    corner = (centre[1] - side / 2, centre[0] - side / 2)
    axes.add_patch(
        Rectangle(
            corner, side, side, fill=False, color=line, linewidth=2, linestyle=style, label=label
        )
    )


def _overlay(
    axes: "Axes", rgb: np.ndarray, heat: np.ndarray, *, top: float = 1.0, where: Any = 1.0
) -> Any:
    """Draw heat in [0, 1] on the image in grey, in the area in which `where` is 1."""
    axes.imshow(rgb.mean(-1) * 0.8, cmap="gray", vmin=0, vmax=255)
    heat = heat.clip(0, 1)
    alpha = where * (0.15 + 0.75 * heat)
    return axes.imshow(heat * top, cmap=HEAT, vmin=0, vmax=top, alpha=alpha)


def _add_legend(
    axes: "Axes",
    labels: Sequence[np.ndarray],
    truth: np.ndarray | None,
    class_names: Sequence[str],
) -> None:
    """Add a legend with the colours of all classes in the labels."""
    from matplotlib.patches import Patch

    found = np.unique(
        np.concatenate([x.ravel() for x in [*labels, *([] if truth is None else [truth])]])
    )
    names = captions_of(class_names)
    patches = [
        Patch(facecolor=colour(np.array([i]))[0] / 255, edgecolor="#808080", label=names[int(i)])
        for i in found
    ]
    axes.legend(handles=patches, loc="upper left", ncols=1 + len(patches) // 9, fontsize=9)
