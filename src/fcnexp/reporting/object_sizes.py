"""Objects by size as tables and a plot: objects.csv, objects.png."""

import csv
from collections.abc import Sequence
from pathlib import Path

from fcnexp.reporting.records import percent
from fcnexp.scoring.objects import SIZES, Found, by_class_and_size, over_classes, size_names
from fcnexp.scoring.per_image import PerImage
from fcnexp.system.atomic import atomic_file

SHARES = {
    "found": "pixels found",
    "missed": "nearly missed",
    "well": "well found",
}
RULE = (
    "An object is a connected piece of one class in the ground truth: touching objects of one "
    "class count as one. Size: root of the area. Nearly missed: less than 10 % of its pixels "
    "found; well found: more than 50 %. The background is not counted."
)
COLOURS = {"found": ("#0072b2", "o"), "missed": ("#d55e00", "s"), "well": ("#009e73", "^")}


def object_lines(found: Found, sizes: Sequence[float] = SIZES) -> list[list[str]]:
    """Table cells by size, header first, shares in percent. found: (bins,) each."""
    shares = found.shares()
    lines = [["size (px)", "objects", *(f"{name} (%)" for name in SHARES.values())]]
    for i, name in enumerate(size_names(sizes)):
        cells = [percent(shares[key][i]) for key in SHARES]
        lines.append([name, str(int(found.objects[i])), *cells])
    return lines


def write_objects(
    folder: Path, per_image: PerImage, sizes: Sequence[float] = SIZES
) -> list[list[str]]:
    """Write objects.csv, by class and size, and objects.png; return the table over all classes."""
    each = by_class_and_size(per_image, sizes)
    assert each is not None
    with atomic_file(folder / "objects.csv") as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "size", *Found._fields])
        for i, name in enumerate(per_image.classes):
            for bin_, size in enumerate(size_names(sizes)):
                writer.writerow([name, size, *(int(values[i, bin_]) for values in each)])
    total = over_classes(each, per_image.classes)
    draw_objects(folder / "objects.png", total, sizes)
    return object_lines(total, sizes)


def draw_objects(path: Path, found: Found, sizes: Sequence[float] = SIZES) -> None:
    """Plot the three shares over size; below each size, the number of objects."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for key, values in found.shares().items():
        colour, mark = COLOURS[key]
        points = [(i, 100 * value) for i, value in enumerate(values) if value is not None]
        axes.plot(*zip(*points, strict=True) if points else ((), ()), color=colour, marker=mark)
        axes.lines[-1].set_label(SHARES[key])
    pairs = zip(size_names(sizes), found.objects.tolist(), strict=True)
    labels = [f"{name}\n{number} objects" for name, number in pairs]
    axes.set_xticks(range(len(labels)), labels, fontsize=9)
    axes.set_xlabel("root of the object's area (pixels)")
    axes.set_ylabel("%")
    axes.set_ylim(-2, 102)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(path) as part:
        figure.savefig(part, dpi=150)
