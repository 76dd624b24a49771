"""Numbers on the page of a convolution: a net does not turn its kernel, textbooks do."""

from typing import NamedTuple

import numpy as np

from fcnexp.explaining.layer_page import (
    INPUT,
    MARGIN,
    MARKED,
    OUTPUT,
    PADDING,
    TITLE,
    WHITE,
    Page,
    uniform,
)
from fcnexp.nn.inspection.arithmetic import Layer

MOST_CELLS, MOST_KERNEL = 8, 4  # of the padded input and the kernel, so that numbers are legible
MOST_TERMS = 9  # of a sum that fits on a line
PLAIN = Layer("conv", 5, 3)  # drawn instead of a larger layer
SIDE = 30.0  # pixels of a cell
GAP = 90.0  # pixels between neighbouring maps, for an arrow


class Example(NamedTuple):
    """Whole numbers (n, n) of a layer: padded input, kernel and output."""

    padded: np.ndarray
    kernel: np.ndarray
    output: np.ndarray


def example(layer: Layer, *, turned: bool) -> Example:
    """A small convolution with this layer's numbers; turned: its kernel is, by 180 degrees."""
    values = np.random.default_rng(1).integers(0, 4, (layer.cells, layer.cells))
    padded = np.pad(values, layer.pad)
    kernel = np.arange(1, layer.kernel**2 + 1).reshape(layer.kernel, layer.kernel)
    if turned:
        kernel = kernel[::-1, ::-1]
    output = np.zeros((layer.out, layer.out), int)
    for row, column in np.ndindex(output.shape):
        output[row, column] = (window(padded, layer, row, column) * kernel).sum()
    return Example(padded, kernel, output)


def window(padded: np.ndarray, layer: Layer, row: int, column: int) -> np.ndarray:
    """The padded cells (kernel, kernel) that feed an output cell."""
    top, left = row * layer.stride, column * layer.stride
    return padded[top : top + layer.kernel, left : left + layer.kernel]


def draw_correlation(page: Page, layer: Layer, top: float) -> None:
    """Draw one input, a kernel as it is and turned by 180 degrees, and both outputs."""
    small = layer.cells + 2 * layer.pad <= MOST_CELLS and layer.kernel <= MOST_KERNEL
    heading = "Numbers" if small else f"Numbers, for {PLAIN.cells} cells and kernel {PLAIN.kernel}"
    layer = layer if small else PLAIN
    marked = (layer.out - 1) // 2
    wide, narrow = (layer.cells + 2 * layer.pad) * SIDE, layer.kernel * SIDE
    high = max(narrow, layer.out * SIDE)
    page.text(MARGIN, top, f"{heading}: a net multiplies the kernel as it is", TITLE)
    said = "The convolution of textbooks turns it by 180 degrees first, which changes nothing if it"
    said += " is symmetric."
    page.text(MARGIN, top + 26, said)
    top += 80
    middle = top + high + 50
    x_kernel = MARGIN + max(wide, 150) + GAP
    x_output = x_kernel + max(narrow, 170) + GAP
    for turned, y in ((False, top), (True, top + high + 100)):
        found = example(layer, turned=turned)
        if not turned:
            fills = _fills(layer, marked)
            at = (float(MARGIN), middle - wide / 2)
            page.square(at, SIDE, fills, "input" + ", padded" * bool(layer.pad), found.padded)
        title = "turned by 180 degrees" if turned else "kernel, as it is"
        page.square((x_kernel, y), SIDE, uniform(layer.kernel, WHITE), title, found.kernel)
        fills = uniform(layer.out, OUTPUT)
        fills[marked, marked] = MARKED
        title = "output of a textbook's convolution" if turned else "output of a net"
        page.square((x_output, y), SIDE, fills, title, found.output)
        at_kernel = y + narrow / 2
        page.arrow(MARGIN + wide + 12, middle, x_kernel - 45, middle, x_kernel - 45, at_kernel,
                   x_kernel - 12, at_kernel)  # fmt: skip
        page.arrow(x_kernel + narrow + 12, at_kernel, x_output - 12, at_kernel)
        page.text(x_output, y + layer.out * SIDE + TITLE, total(layer, found, marked))


def total(layer: Layer, found: Example, at: int) -> str:
    """The sum behind one output cell, term by term if they fit."""
    pairs = zip(window(found.padded, layer, at, at).flat, found.kernel.flat, strict=True)
    terms = [f"{value}*{weight}" for value, weight in pairs]
    shown = terms if len(terms) <= MOST_TERMS else [*terms[:3], "...", terms[-1]]
    return f"{' + '.join(shown)} = {found.output[at, at]}"


def _fills(layer: Layer, marked: int) -> np.ndarray:
    """Colours of the padded input, with the marked output's window."""
    fills = uniform(layer.cells + 2 * layer.pad, PADDING)
    fills[layer.pad : layer.pad + layer.cells, layer.pad : layer.pad + layer.cells] = INPUT
    window(fills, layer, marked, marked)[:] = MARKED
    return fills
