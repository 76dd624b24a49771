"""Tables of a net's maps, derivations of its crops, and totals compared with the paper's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from fcnexp.papers.published import NetFacts

if TYPE_CHECKING:  # torch
    from fcnexp.nn.inspection.function_tracer import Map

FULL = 130  # columns of a terminal that shows all columns of the table
FUSED = ("sum", "maximum")


def print_maps(maps: Sequence["Map"]) -> None:
    """Print one line per map, in order of computation."""
    console = _console()
    if console.width >= FULL:
        console.print(_maps(maps))
    else:
        console.print(_narrow_maps(maps))
        console.print(
            f"to see parameters and multiply-adds, write to a file or use {FULL} columns or more"
        )
    console.print(
        "stride: pixels between neighbouring cells; first cell: pixel at its centre (the image's "
        "first pixel is 0); field: receptive field in pixels (all along one axis)\n",
        soft_wrap=True,
    )


def _maps(maps: Sequence["Map"]) -> Table:
    table = Table(title="Maps, in order of computation", title_justify="left")
    for name in ("map", "made by"):
        table.add_column(name, overflow="fold")
    for name in ("channels", "height", "width", "stride", "first cell", "field", "parameters"):
        table.add_column(name, justify="right")
    table.add_column("mult-adds (M)", justify="right")
    for each in maps:
        channels, height, width = (str(n) for n in each.shape)
        table.add_row(
            each.name,
            made_by(each),
            *(channels, height, width, f"{each.grid.step:g}", f"{each.grid.origin:g}"),
            f"{each.receptive_field:g}",
            f"{each.parameters:,}" if each.parameters else "",
            f"{each.multiply_adds / 1e6:,.1f}" if each.multiply_adds else "",
        )
    return table


def _narrow_maps(maps: Sequence["Map"]) -> Table:
    """Columns needed to follow the geometry, for a terminal of 80 columns."""
    table = Table(title="Maps, in order of computation", title_justify="left")
    table.box, table.padding = box.SIMPLE_HEAD, (0, 1, 0, 0)
    for name in ("map", "made by"):
        table.add_column(name)
    for name in ("channels\nx height x width", "stride", "first\ncell", "field"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in maps:
        shape = "x".join(str(n) for n in each.shape)
        geometry = f"{each.grid.step:g}", f"{each.grid.origin:g}", f"{each.receptive_field:g}"
        table.add_row(each.name, made_by(each), shape, *geometry)
    return table


def made_by(each: "Map") -> str:
    """Describe the operation that computes a map: `convolution 7x7, pad 3`."""
    if each.window is not None:
        kernel, stride, pad, groups, dilation = each.window
        weights = (kernel - 1) // dilation + 1
        text = f"{each.kind} {weights}x{weights}"
        text += f" dilated to {kernel}x{kernel}" if dilation != 1 else ""
        text += f", stride {stride}" if stride != 1 else ""
        text += f", pad {pad}" if pad else ""
        return text + (f", {groups} groups" if groups != 1 else "")
    if each.kind == "crop":
        return f"crop of {each.sources[0]}, leading cells removed: {each.offset}"
    if each.kind == "padding":
        return f"border repeated, leading cells added: {-(each.offset or 0)}"
    if each.sources and each.kind == "sum":
        return " + ".join(each.sources)
    if each.sources and each.kind == "maximum":
        return f"maximum of {' and '.join(each.sources)}"
    return each.kind


def derive_crops(maps: Sequence["Map"]) -> list[str]:
    """Derive every crop step by step, as lines of text.

    A map's first cell lies at `origin`, and its cells are `step` pixels apart. A convolution or
    pooling moves the first cell by `step * ((kernel - 1) / 2 - pad)`; a transposed convolution
    moves it back by the same expression with its finer step. The crop is the distance between the
    first cells of the two maps.
    """
    by_name = {each.name: each for each in maps}
    lines = []
    for crop in (each for each in maps if each.kind == "crop"):
        source = by_name[crop.sources[0]]
        fused = [each for each in maps if each.kind in FUSED and crop.name in each.sources]
        other = next((n for each in fused for n in each.sources if n != crop.name), None)
        due = by_name[other].grid.origin if other else 0
        lines.append(
            f"{crop.name}: {source.name} starts at {source.grid.origin:g} and must start at "
            f"{due:g}, like {other or 'the image'}; its cells are {source.grid.step:g} apart: "
            f"({due:g} - {_signed(source.grid.origin)}) / {source.grid.step:g} = "
            f"{(due - source.grid.origin) / source.grid.step:g}, so {crop.offset} are cropped"
        )
        for end in (source, *([by_name[other]] if other else [])):
            lines += [f"    {line}" for line in _moves(end, by_name)]
    return lines


def _moves(last: "Map", by_name: dict[str, "Map"]) -> list[str]:
    """Positions of the first cell along one path through the net, starting from pixel 0."""
    path = [last]
    while path[-1].sources:
        path.append(by_name[path[-1].sources[0]])
    lines = [f"to {last.name}"]
    for each, before in zip(path[-2::-1], path[:0:-1], strict=True):
        start, end = before.grid.origin, each.grid.origin
        if start == end:
            continue
        if each.window is None:
            sign, cells = ("-" if end < start else "+"), abs(each.offset or 0)
            lines.append(f"  {each.name}: {start:g} {sign} {cells} * {each.grid.step:g} = {end:g}")
            continue
        kernel, pad = each.window.kernel, each.window.pad
        sign, step = ("-", each.grid.step) if each.kind == "transposed" else ("+", before.grid.step)
        lines.append(
            f"  {each.name}: {start:g} {sign} {step:g} * (({kernel} - 1) / 2 - {pad}) = {end:g}"
        )
    return lines


def print_totals(
    maps: Sequence["Map"], counts: dict[str, int], name: str, paper: NetFacts | None
) -> None:
    """Print the net's totals next to those of the paper's table 1, if it lists the backbone.

    counts: numbers in the original's parameter blobs: total, learnable, fixed.
    """
    coarse = next(each for each in maps if each.name.startswith("score_fr"))
    table = Table(title="Totals", title_justify="left")
    table.add_column("")
    table.add_column("this net", justify="right")
    theirs = [""] * 4
    if paper:
        table.add_column(f"paper, {name}", justify="right")
        size = f"{paper.parameters:g} M"
        theirs = [f"{paper.conv_layers}", size, f"{paper.field}", f"{paper.stride}"]
    stride = max(each.grid.step for each in maps)
    rows = [
        ("convolutions on the longest path", f"{coarse.depth}", theirs[0]),
        ("learnable parameters", f"{counts['learnable']:,}", theirs[1]),
        ("receptive field of score_fr", f"{coarse.receptive_field:g}", theirs[2]),
        ("largest stride", f"{stride:g}", theirs[3]),
        ("parameters with Caffe's dense bilinear kernels", f"{counts['total']:,}", ""),
        ("multiply-adds (G)", f"{sum(m.multiply_adds for m in maps) / 1e9:,.1f}", ""),
    ]
    for what, ours, published in rows:
        table.add_row(what, ours, *([published] if paper else []))
    console = _console()
    console.print(table)
    if paper and paper.note:
        console.print(paper.note, soft_wrap=True)


def print_whole(size: tuple[int, int], parts: dict[str, int], multiply_adds: int) -> None:
    """Print what is known of a whole net of another library.

    size: of the image. parts: learnable parameters by part.
    """
    table = Table(title="A whole net of another library", title_justify="left")
    table.add_column("")
    table.add_column("this net", justify="right")
    rows = [(f"learnable parameters of the {name}", f"{n:,}") for name, n in parts.items()]
    rows += [("learnable parameters", f"{sum(parts.values()):,}")]
    rows += [("scores, height x width", f"{size[0]} x {size[1]}")]
    rows += [("multiply-adds (G)", f"{multiply_adds / 1e9:,.1f}")]
    for row in rows:
        table.add_row(*row)
    console = _console()
    console.print(table)
    console.print(
        "maps, crops and receptive fields are derived from the layers of FCNs, and not for a whole "
        "net; choose, for example, model=fcn8s backbone=torchvision backbone.name=resnet50",
        soft_wrap=True,
    )


def _console() -> Console:
    """Console as wide as the terminal, or as the tables if the output goes to a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=150)


def _signed(number: float) -> str:
    return f"({number:g})" if number < 0 else f"{number:g}"
