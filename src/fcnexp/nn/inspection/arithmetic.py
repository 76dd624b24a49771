"""Output sizes of convolutions, transposed convolutions and unpooling, and what feeds each cell.

Everything is along one axis: kernels are square, so the same numbers hold for rows and columns.
"""

from dataclasses import dataclass
from itertools import groupby

KINDS = ("conv", "transposed", "unpooling")
PADDINGS = ("valid", "same", "full")
MOST_WEIGHTS = 5  # of an example that fits on a line


@dataclass(frozen=True)
class Layer:
    """One layer along one axis. Raises ValueError if such a layer is impossible.

    `unpooling` undoes a max pooling with this kernel and stride and no padding.
    """

    kind: str  # one of KINDS
    cells: int  # of the input
    kernel: int
    stride: int = 1
    pad: int = 0  # cells added at each end; a transposed convolution crops them from its output

    def __post_init__(self) -> None:
        _check(self)

    @property
    def out(self) -> int:
        """Number of output cells; for unpooling the smallest size that pools to its input."""
        if self.kind == "conv":
            return (self.cells + 2 * self.pad - self.kernel) // self.stride + 1
        return (self.cells - 1) * self.stride + self.kernel - 2 * self.pad

    @property
    def sources(self) -> list[list[int]]:
        """For each output cell, indices of the input cells that feed it, without padding.

        For unpooling these are the windows that contain the cell: it receives their value if their
        maximum was there, otherwise 0.
        """
        out, stride, kernel = range(self.out), self.stride, self.kernel
        if self.kind == "conv":
            windows = [range(o * stride - self.pad, o * stride - self.pad + kernel) for o in out]
            return [[i for i in window if 0 <= i < self.cells] for window in windows]
        cells = range(self.cells)
        return [[i for i in cells if 0 <= o + self.pad - i * stride < kernel] for o in out]

    @property
    def formula(self) -> str:
        """Formula of the output size, the same with this layer's numbers, and the result."""
        n, kernel, stride = self.cells, self.kernel, self.stride
        twice = f"2 * {self.pad}" if self.pad else "0"
        if self.kind == "conv":
            symbols = "floor((in + 2 * pad - kernel) / stride) + 1"
            numbers = f"floor(({n} + {twice} - {kernel}) / {stride}) + 1"
        else:
            symbols, numbers = "(in - 1) * stride + kernel", f"({n} - 1) * {stride} + {kernel}"
        if self.kind == "transposed":
            symbols, numbers = f"{symbols} - 2 * pad", f"{numbers} - {twice}"
        return f"out = {symbols} = {numbers} = {self.out}"


def layer(*, kind: str, cells: int, kernel: int, stride: int, pad: int | str) -> Layer:
    """Build a layer whose pad may also be a mode of `padding_of`. Raises ValueError."""
    cells_added = padding_of(pad, kernel) if isinstance(pad, str) else pad
    return Layer(kind, cells, kernel, stride, cells_added)


def padding_of(mode: str, kernel: int) -> int:
    """Number of cells to add at each end: `valid` 0, `same` (kernel - 1) / 2, `full` kernel - 1.

    At stride 1, `same` keeps the size and `full` grows it by kernel - 1. Raises ValueError for an
    even kernel with `same`, which would need half a cell.
    """
    if mode not in PADDINGS:
        raise ValueError(f"padding={mode} is not one of {', '.join(PADDINGS)}")
    if kernel < 1:
        raise ValueError(f"kernel={kernel} must be at least 1")
    if mode == "same" and kernel % 2 == 0:
        raise ValueError(
            f"padding=same needs an odd kernel: with kernel={kernel} it would take "
            f"(kernel - 1) / 2 = {(kernel - 1) / 2:g} cells at each end; "
            f"try kernel={kernel + 1}, or padding=valid or padding=full"
        )
    return {"valid": 0, "same": (kernel - 1) // 2, "full": kernel - 1}[mode]


def derivation(layer: Layer) -> list[str]:
    """Lines of text: the output size derived, and further properties of the layer."""
    names = {"conv": "convolution", "transposed": "transposed convolution"}
    notes = {"conv": _on_conv, "transposed": _on_transposed, "unpooling": _on_unpooling}
    return [
        f"{names.get(layer.kind, layer.kind)} of {layer.cells} cells: "
        f"kernel {layer.kernel}, stride {layer.stride}, pad {layer.pad}",
        layer.formula,
        f"number of input cells that feed each output cell: {_counts(layer)}",
        *notes[layer.kind](layer),
    ]


def padding_table(cells: int, kernel: int, stride: int) -> list[str]:
    """Lines of a table with the pad and output size of a convolution for each of PADDINGS."""
    lines = ["padding  pad  out"]
    for mode in PADDINGS:
        if mode == "same" and kernel % 2 == 0:
            lines.append(f"{mode:<7}    -    -  (needs an odd kernel)")
            continue
        pad = padding_of(mode, kernel)
        if kernel > cells + 2 * pad:
            lines.append(f"{mode:<7}{pad:>5}    -  (kernel wider than the padded input)")
            continue
        lines.append(f"{mode:<7}{pad:>5}{Layer('conv', cells, kernel, stride, pad).out:>5}")
    return lines


def _counts(layer: Layer) -> str:
    """Numbers of input cells per output cell; long lists as runs, `2 (64 times)`."""
    counts = [len(cells) for cells in layer.sources]
    if len(counts) <= 24:  # short enough for one line
        return " ".join(map(str, counts))
    runs = [(count, len(list(run))) for count, run in groupby(counts)]
    return ", ".join(f"{count} ({length} times)" for count, length in runs)


def _on_conv(layer: Layer) -> list[str]:
    over = (layer.cells + 2 * layer.pad - layer.kernel) % layer.stride
    rest = f"unused cells of the padded input after the last window: {over}"
    return [
        *([rest] if over else []),
        *_on_turning(layer.kernel),
        "",
        *padding_table(layer.cells, layer.kernel, layer.stride),
    ]


def _on_turning(kernel: int) -> list[str]:
    """What turning the kernel changes, shown on a single 1 among zeros, at stride 1."""
    if kernel == 1:
        return ["a net does not turn its kernel by 180 degrees; for kernel 1 that is no difference"]
    weights = list(range(1, min(kernel, MOST_WEIGHTS) + 1))
    signal = [int(i == len(weights) - 1) for i in range(2 * len(weights) - 1)]
    starts = range(len(weights))
    output = [sum(w * signal[o + k] for k, w in enumerate(weights)) for o in starts]
    turned = [sum(w * signal[o + k] for k, w in enumerate(reversed(weights))) for o in starts]
    texts = [" ".join(map(str, numbers)) for numbers in (signal, weights, output, turned)]
    return [
        "a net does not turn its kernel by 180 degrees (it correlates): "
        f"input {texts[0]}, weights {texts[1]}, output {texts[2]}",
        f"with the kernel turned, as in the convolution of textbooks: output {texts[3]}; a "
        "transposed convolution writes the weights in this order too",
    ]


def _on_transposed(layer: Layer) -> list[str]:
    kernel, stride, pad = layer.kernel, layer.stride, layer.pad
    lines = [
        _on_windows(kernel, stride) + ("; contributions add up" if kernel > stride else ""),
        f"a convolution of the same kernel, stride and pad maps {layer.out} cells to {layer.cells}",
    ]
    if pad < kernel:
        lines.append(
            f"equals a convolution at stride 1, pad kernel - 1 - pad = {kernel - 1 - pad} and the "
            f"kernel mirrored, over the input with stride - 1 = {stride - 1} zeros between cells"
        )
    return lines


def _on_unpooling(layer: Layer) -> list[str]:
    largest = layer.out + layer.stride - 1
    sizes = f"{layer.out} to {largest} cells" if layer.stride > 1 else f"{layer.out} cells"
    return [
        _on_windows(layer.kernel, layer.stride),
        f"max pooling with the same kernel and stride takes {sizes} to {layer.cells}",
        "each window gets its value back where its maximum was, and 0 elsewhere; "
        "a transposed convolution writes to every cell of the window",
    ]


def _on_windows(kernel: int, stride: int) -> str:
    """Describe how the windows of neighbouring coarse cells overlap on the fine map."""
    if kernel > stride:
        shared = kernel - stride
        return f"kernel {kernel} > stride {stride}: neighbouring windows overlap by {shared}"
    if kernel < stride:
        gap = f"{stride - kernel} of every {stride} cells"
        return f"kernel {kernel} < stride {stride}: {gap} are in no window and stay 0"
    return f"kernel {kernel} = stride {stride}: windows are adjacent"


def _check(layer: Layer) -> None:
    """Raise ValueError, with values to try, if a layer is impossible."""
    if layer.kind not in KINDS:
        raise ValueError(f"kind={layer.kind} is not one of {', '.join(KINDS)}")
    for name, least in {"cells": 1, "kernel": 1, "stride": 1, "pad": 0}.items():
        value = getattr(layer, name)
        if type(value) is not int:
            raise ValueError(f"{name}={value} must be an integer")
        if value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    given = f"kernel={layer.kernel}, cells={layer.cells}, pad={layer.pad}"
    if layer.kind == "unpooling" and layer.pad:
        raise ValueError(f"pad={layer.pad}: unpooling undoes a pooling without padding; try pad=0")
    if layer.kind == "conv" and layer.kernel > layer.cells + 2 * layer.pad:
        wide = layer.cells + 2 * layer.pad
        raise ValueError(
            f"{given}: the window is wider than the padded input, cells + 2 * pad = {wide}; "
            f"try kernel={wide} or less, or pad={(layer.kernel - layer.cells + 1) // 2} or more"
        )
    if layer.kind == "transposed" and layer.out < 1:
        whole = layer.out + 2 * layer.pad
        raise ValueError(
            f"{given}: the pad crops the entire output, (in - 1) * stride + kernel = {whole}; "
            f"try pad={(whole - 1) // 2} or less"
        )
