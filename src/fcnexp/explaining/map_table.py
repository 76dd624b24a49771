"""A net laid open: a table of its maps, its crops derived, its totals beside the paper's."""

from collections.abc import Sequence
from typing import Any, Protocol

from rich import box
from rich.console import Console
from rich.table import Table

from fcnexp.papers.published import NetFacts

FULL = 130  # columns of a terminal on which all is shown
FUSED = ("sum", "maximum")


class MapLike(Protocol):
    """One map of a net; see `nn.trace.Map`."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    grid: Any
    receptive_field: float
    depth: int
    parameters: int
    multiply_adds: int
    sources: tuple[str, ...]
    window: Any
    offset: int | None


def print_maps(maps: Sequence[MapLike]) -> None:
    """Print one line per map, in the order of computing."""
    console = _console()
    if console.width >= FULL:
        console.print(_maps(maps))
    else:
        console.print(_narrow_maps(maps))
        console.print(f"parameters and multiply-adds: in a file, or in {FULL} columns")
    console.print(
        "stride: pixels between neighbouring cells; first cell: pixel on which its centre lies, 0 "
        "being the image's first; field: pixels that one cell can see (all along one axis)\n",
        soft_wrap=True,
    )


def _maps(maps: Sequence[MapLike]) -> Table:
    table = Table(title="Maps, in the order of computing", title_justify="left")
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


def _narrow_maps(maps: Sequence[MapLike]) -> Table:
    """What is needed to follow the geometry, for a terminal of 80 columns."""
    table = Table(title="Maps, in the order of computing", title_justify="left")
    table.box, table.padding = box.SIMPLE_HEAD, (0, 1, 0, 0)
    for name in ("map", "made by"):
        table.add_column(name)
    for name in ("channels\nx height x width", "stride", "first\ncell", "field"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in maps:
        shape = "x".join(str(n) for n in each.shape)
        where = f"{each.grid.step:g}", f"{each.grid.origin:g}", f"{each.receptive_field:g}"
        table.add_row(each.name, made_by(each), shape, *where)
    return table


def made_by(each: MapLike) -> str:
    """What makes a map, in words: `convolution 7x7, pad 3`."""
    if each.window is not None:
        kernel, stride, pad, groups, dilation = each.window
        weights = (kernel - 1) // dilation + 1
        words = f"{each.kind} {weights}x{weights}"
        words += f" spread to {kernel}x{kernel}" if dilation != 1 else ""
        words += f", stride {stride}" if stride != 1 else ""
        words += f", pad {pad}" if pad else ""
        return words + (f", {groups} groups" if groups != 1 else "")
    if each.kind == "crop":
        return f"crop of {each.sources[0]}, cells cut in front: {each.offset}"
    if each.kind == "padding":
        return f"border repeated, cells in front: {-(each.offset or 0)}"
    if each.sources and each.kind == "sum":
        return " + ".join(each.sources)
    if each.sources and each.kind == "maximum":
        return f"maximum of {' and '.join(each.sources)}"
    return each.kind


def derive_crops(maps: Sequence[MapLike]) -> list[str]:
    """The arithmetic behind every crop, step by step, as lines of text.

    A map's first cell lies at `origin` and its cells `step` pixels apart. A convolution or pooling
    moves the first cell by `step * ((kernel - 1) / 2 - pad)`; a transposed convolution moves it
    back by the like with its finer step. What is cut off is the distance of the two first cells.
    """
    by_name = {each.name: each for each in maps}
    lines = []
    for crop in (each for each in maps if each.kind == "crop"):
        source = by_name[crop.sources[0]]
        fused = [each for each in maps if each.kind in FUSED and crop.name in each.sources]
        other = next((n for each in fused for n in each.sources if n != crop.name), None)
        due = by_name[other].grid.origin if other else 0
        begins = f"{due:g}, where {other or 'the image'} begins"
        lines.append(
            f"{crop.name}: {source.name} begins at {source.grid.origin:g} and has to at {begins}; "
            f"cells are {source.grid.step:g} apart: ({due:g} - "
            f"{_signed(source.grid.origin)}) / {source.grid.step:g} = "
            f"{(due - source.grid.origin) / source.grid.step:g}, and {crop.offset} are cut off"
        )
        for way in (source, *([by_name[other]] if other else [])):
            lines += [f"    {line}" for line in _moves(way, by_name)]
    return lines


def _moves(last: MapLike, by_name: dict[str, MapLike]) -> list[str]:
    """How the first cell gets from pixel 0 to where it is, along one way through the net."""
    way: list[MapLike] = [last]
    while way[-1].sources:
        way.append(by_name[way[-1].sources[0]])
    lines = [f"to {last.name}"]
    for each, before in zip(way[-2::-1], way[:0:-1], strict=True):
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
    maps: Sequence[MapLike], counts: dict[str, int], name: str, paper: NetFacts | None
) -> None:
    """Print the net's totals beside the paper's table 1, where it has the backbone.

    counts: numbers in the original's parameter blobs: total, learnable, fixed.
    """
    coarse = next(each for each in maps if each.name.startswith("score_fr"))
    table = Table(title="In all", title_justify="left")
    table.add_column("")
    table.add_column("this net", justify="right")
    theirs = [""] * 4
    if paper:
        table.add_column(f"paper, {name}", justify="right")
        theirs = [
            f"{paper.conv_layers}",
            f"{paper.parameters:g} M",
            f"{paper.field}",
            f"{paper.stride}",
        ]
    stride = max(each.grid.step for each in maps)
    rows = [
        ("convolutions on the longest way", f"{coarse.depth}", theirs[0]),
        ("parameters that learn", f"{counts['learnable']:,}", theirs[1]),
        ("receptive field of score_fr", f"{coarse.receptive_field:g}", theirs[2]),
        ("greatest stride", f"{stride:g}", theirs[3]),
        ("with dense bilinear kernels, as in Caffe", f"{counts['total']:,}", ""),
        ("multiply-adds (G)", f"{sum(m.multiply_adds for m in maps) / 1e9:,.1f}", ""),
    ]
    for what, ours, published in rows:
        table.add_row(what, ours, *([published] if paper else []))
    console = _console()
    console.print(table)
    if paper and paper.note:
        console.print(paper.note, soft_wrap=True)


def _console() -> Console:
    """As wide as the terminal, or as the tables where the output goes to a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=150)


def _signed(number: float) -> str:
    return f"({number:g})" if number < 0 else f"{number:g}"
