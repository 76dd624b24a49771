"""Drawings of one layer that show which input cells feed which output cells.

Each layer connects a fine row of cells to a coarse one: every coarse cell has a window of `kernel`
fine cells, and neighbouring windows start `stride` cells apart. A convolution goes from fine to
coarse, a transposed convolution and unpooling from coarse to fine.
"""

from itertools import groupby
from pathlib import Path

import numpy as np

from fcnexp.explaining.correlation import draw_correlation
from fcnexp.explaining.layer_page import (
    INK,
    INPUT,
    LINE,
    MARGIN,
    MARKED,
    MARKED_LINE,
    MARKED_PALE,
    OUTPUT,
    PADDING,
    TITLE,
    WHITE,
    WINDOW,
    Colour,
    Page,
    Point,
    uniform,
)
from fcnexp.nn.inspection.arithmetic import Layer

MOST_CELLS = 16  # of the input
MOST_PLACES = 600  # cells of the fine row including its padding
FINEST, WIDEST, HIGH = 3, 44, 36  # pixels: smallest and largest width of a cell, and its height
NUMBERED = 18  # pixels: smallest width of cells that show their numbers
LABEL = 96  # pixels: space for a row's label


def draw_layer(layer: Layer, path: Path) -> None:
    """Write a PNG of a layer: its cells, their connections, and the formula of its output size.

    Raises ValueError if there are too many cells to draw.
    """
    if layer.cells > MOST_CELLS:
        raise ValueError(f"cells={layer.cells} is too many to draw; try {MOST_CELLS} or fewer")
    if (places := _fine_cells(layer) + 2 * layer.pad) > MOST_PLACES:
        raise ValueError(
            f"a row of {places} cells is too long to draw: at most {MOST_PLACES} fit; "
            "try fewer cells, or a smaller kernel, stride or pad"
        )
    page = Page()
    name = {"conv": "Convolution", "transposed": "Transposed convolution"}.get(layer.kind)
    numbers = f"kernel {layer.kernel}, stride {layer.stride}, pad {layer.pad}"
    page.text(MARGIN, 30, f"{name or 'Max unpooling'}: {numbers}", size=22)
    page.text(MARGIN, 62, layer.formula, TITLE)
    if layer.kind == "unpooling":
        _draw_unpooling(page, layer, top=130)
    else:
        _draw_rows(page, layer, top=120)
        bottom = _draw_squares(page, layer, top=400)
        if layer.kind == "conv":
            draw_correlation(page, layer, top=bottom + 70)
    path.parent.mkdir(parents=True, exist_ok=True)
    page.write(path)


def _fine_cells(layer: Layer) -> int:
    return layer.cells if layer.kind == "conv" else layer.out


def _marked_output(layer: Layer) -> int:
    """Output cell to highlight: the most central of those with the most input cells."""
    fed = [len(cells) for cells in layer.sources]
    return max(range(len(fed)), key=lambda o: (fed[o], -abs(o - (len(fed) - 1) / 2)))


def _draw_rows(page: Page, layer: Layer, top: float) -> None:
    """Draw input cells above output cells, at their positions, and lines between them."""
    conv, fine, pad = layer.kind == "conv", _fine_cells(layer), layer.pad
    unit = min(WIDEST, max(FINEST, 1240 / (fine + 2 * pad)))
    left, bottom = MARGIN + LABEL + unit * pad, top + 130
    x_fine = [left + (j + 0.5) * unit for j in range(-pad, fine + pad)]
    x_coarse = [
        left + (c * layer.stride - pad + layer.kernel / 2) * unit
        for c in range(len(layer.sources) if conv else layer.cells)
    ]
    for x in [*x_fine[:pad], *x_fine[pad + fine :]]:
        page.cell(x - unit / 2, top if conv else bottom, unit, HIGH, PADDING)
    x_fine = x_fine[pad : pad + fine]
    x_in, x_out = (x_fine, x_coarse) if conv else (x_coarse, x_fine)
    marked = _marked_output(layer)
    lines = [(i, o) for o, fed in enumerate(layer.sources) for i in fed]
    if unit < NUMBERED:  # too many lines: draw only the first and last of every window
        windows = [[e for e in lines if e[1 if conv else 0] == c] for c in range(len(x_coarse))]
        lines = [line for window in windows if window for line in (window[0], window[-1])]
    for i, o in sorted(lines, key=lambda line: line[1] == marked):
        page.line((x_in[i], top + HIGH, x_out[o], bottom), LINE)
    for i in layer.sources[marked]:
        page.line((x_in[i], top + HIGH, x_out[marked], bottom), MARKED_LINE, 2.5)
    wide = min(WIDEST, layer.stride * unit)
    w_in, w_out = (unit, wide) if conv else (wide, unit)
    fills = [MARKED if i in layer.sources[marked] else INPUT for i in range(layer.cells)]
    _draw_row(page, "input", x_in, (w_in, top), fills)
    fills = [OUTPUT if cells else WHITE for cells in layer.sources]
    fills[marked] = MARKED
    _draw_row(page, "output", x_out, (w_out, bottom), fills)
    _draw_counts(page, layer, x_out, bottom + HIGH + (18 if w_out >= NUMBERED else 36))


def _draw_row(
    page: Page, label: str, xs: list[float], box: tuple[float, float], fills: list[Colour]
) -> None:
    """Draw numbered cells centred at xs; box: a cell's width and the row's top."""
    width, top = box
    page.text(MARGIN, top + HIGH / 2, label, TITLE)
    for i, (x, fill) in enumerate(zip(xs, fills, strict=True)):
        page.cell(x - width / 2, top, width, HIGH, fill)
        if width >= NUMBERED:
            page.number(x, top + HIGH / 2, str(i), width)
    if width < NUMBERED:  # number only some cells, outside the row
        marked = [i for i, fill in enumerate(fills) if fill == MARKED]
        y, end = top - 10 if label == "input" else top + HIGH + 12, 0.0
        for i in sorted({0, *marked[:1], *marked[-1:], len(xs) - 1}):
            if xs[i] > end:
                page.text(xs[i], y, str(i), 14, "mm")
                end = xs[i] + 10 * len(str(i))


def _draw_counts(page: Page, layer: Layer, xs: list[float], y: float) -> None:
    """Write each output cell's number of input cells, in long rows once for equal neighbours."""
    page.text(MARGIN, y, "fed by", TITLE)
    step = xs[1] - xs[0] if len(xs) > 1 else WIDEST
    counts = list(enumerate(len(fed) for fed in layer.sources))
    for count, run in groupby(counts, key=lambda pair: (pair[1], step < NUMBERED or pair[0])):
        places = [xs[o] for o, _ in run]
        if step < NUMBERED:
            ends = (places[0] - step / 2 + 1, y - 12, places[-1] + step / 2 - 1, y - 12)
            page.line(ends, LINE, 2)
        page.number((places[0] + places[-1]) / 2, y, str(count[0]), step * len(places))


def _draw_squares(page: Page, layer: Layer, top: float) -> float:
    """Draw the layer in two dimensions: input, arrow, output, key; return where it ends."""
    maps = _square_maps(layer)
    sides = [min(26.0, max(1.0, 300 / len(cells))) for cells in maps]
    sizes = [len(cells) * side for cells, side in zip(maps, sides, strict=True)]
    x, middle = float(MARGIN), top + max(sizes) / 2
    for i, n in enumerate((layer.cells, len(layer.sources))):
        side, y, inner = sides[i], middle - sizes[i] / 2, (len(maps[i]) - n) / 2 * sides[i]
        page.square((x, y), side, maps[i], f"{('input', 'output')[i]} {n} x {n}")
        if inner or side < 6:  # the map is padded, or its cells have no edges
            page.frame(x + inner, y + inner, n * side, INK)
        marked = np.argwhere((maps[i] == MARKED).all(-1))
        if side < 6 and len(marked):  # too small to be visible
            first, ring = marked.min() * side - 4, (np.ptp(marked) + 1) * side + 8
            page.frame(x + first, y + first, ring, MARKED_LINE)
        x += max(sizes[i], 110) + 70
    start = MARGIN + max(sizes[0], 110)
    page.arrow(start + 10, middle, start + 55, middle)
    _draw_key(page, layer, (x, top), maps)
    return top + max(sizes)


def _square_maps(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the input and output maps, uint8 (n, n, 3); the fine map includes its padding."""
    conv, pad, marked = layer.kind == "conv", layer.pad, _marked_output(layer)
    fed, unfed = layer.sources[marked], np.array([not cells for cells in layer.sources])
    maps = [uniform(layer.cells, INPUT), uniform(len(layer.sources), OUTPUT)]
    maps[1][unfed | unfed[:, None]] = WHITE
    padded = uniform(_fine_cells(layer) + 2 * pad, PADDING)
    padded[pad : len(padded) - pad, pad : len(padded) - pad] = maps[0 if conv else 1]
    over = np.zeros(len(padded))  # number of marked coarse cells' windows on each fine cell
    for cell in [marked] if conv else fed:
        over[cell * layer.stride :][: layer.kernel] += 1
    count = np.outer(over, over)
    shade = 0.3 + 0.6 * count[count > 0][:, None] / max(1, count.max())
    padded[count > 0] = (1 - shade) * np.array(WHITE) + shade * np.array(WINDOW)
    maps[0 if conv else 1] = padded
    for cells, places in zip(maps, (fed, [marked]), strict=True):
        shift = pad if cells is padded else 0
        cells[np.ix_(*[[place + shift for place in places]] * 2)] = MARKED
    return maps[0], maps[1]


def _draw_key(page: Page, layer: Layer, at: Point, maps: tuple[np.ndarray, np.ndarray]) -> None:
    """Write the meaning of each colour in the maps, one per line."""
    conv, window = layer.kind == "conv", f"{layer.kernel} x {layer.kernel} window"
    seen = {tuple(fill) for cells in maps for fill in cells.reshape(-1, 3).tolist()}
    entries = {MARKED: "an output cell and the input cells that feed it"}
    if seen - {MARKED, INPUT, OUTPUT, WHITE, PADDING}:
        entries[WINDOW] = f"rest of its {window}" if conv else f"their {window}s, dark: overlap"
    if WHITE in seen:
        entries[WHITE] = "fed by no input cell"
    if layer.pad:
        entries[PADDING] = "padding: zeros, not counted" if conv else "pad: cropped from the output"
    for row, (fill, text) in enumerate(entries.items()):
        page.cell(at[0], at[1] + 24 * row, 16, 16, fill)
        page.text(at[0] + 26, at[1] + 24 * row + 8, text)


def _draw_unpooling(page: Page, layer: Layer, top: float) -> None:
    """Draw a map pooled and unpooled, above a transposed convolution of the pooled numbers."""
    kernel, stride = layer.kernel, layer.stride
    shown = max(1, min(layer.cells, (8 - kernel) // stride + 1))  # at most 8 x 8 cells if possible
    part = "" if shown == layer.cells else f" of {layer.cells} x {layer.cells}"
    n = (shown - 1) * stride + kernel
    values = np.random.default_rng(0).permutation(n * n).reshape(n, n) + 1
    unpooled, spread = 0 * values, 0 * values
    side, cell = min(34.0, 300 / n), min(62.0, 400 / shown)
    size, wide = n * side, shown * cell
    x_coarse = MARGIN + max(size, 170) + 80
    x_fine, low = x_coarse + max(wide, 150) + 80, top + size + 80
    coarse = uniform(shown, INPUT)
    coarse[-1, -1] = MARKED
    page.square((x_coarse, top), cell, coarse, f"max pooled, {shown} x {shown}{part}")
    for r, c in np.ndindex(shown, shown):  # the last window is highlighted
        window = np.s_[r * stride : r * stride + kernel, c * stride : c * stride + kernel]
        best = values[window].max()
        row, column = np.argwhere(values == best)[0]
        unpooled[row, column] = best
        spread[window] += best
        x, y = x_coarse + (c + 0.5) * cell, top + (r + 0.5) * cell
        page.number(x, y - 9, str(best), cell)
        page.number(x, y + 12, f"at {row}, {column}", cell)
    sparse, dense = uniform(n, OUTPUT), uniform(n, OUTPUT)  # cells between windows are grey
    sparse[spread > 0], dense[spread > 0] = WHITE, INPUT
    sparse[window], dense[window] = MARKED_PALE, MARKED
    sparse[unpooled > 0] = INPUT
    sparse[row, column] = MARKED
    page.square((MARGIN, top), side, sparse, f"{n} x {n}, before pooling", values)
    page.square((x_fine, top), side, sparse, "unpooling: each number back to its place", unpooled)
    title = "transposed convolution, weights of 1: into the entire window"
    title += ", overlaps added" if kernel > stride and shown > 1 else ""
    page.square((x_fine, low), side, dense, title, spread)
    middle = top + min(size, wide) / 2
    page.arrow(MARGIN + size + 15, middle, x_coarse - 15, middle)
    page.arrow(x_coarse + wide + 15, middle, x_fine - 15, middle)
    x, y = x_coarse + wide / 2, low + size / 2
    page.arrow(x, top + wide + 12, x, y, x_fine - 15, y)
