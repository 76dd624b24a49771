"""Sizes of convolutions, transposed convolutions and unpooling, and which cell feeds which.

All of it along one axis: kernels are square, so rows and columns obey the same numbers.
"""

from dataclasses import dataclass
from itertools import groupby

KINDS = ("conv", "transposed", "unpooling")
PADDINGS = ("valid", "same", "full")


@dataclass(frozen=True)
class Layer:
    """One layer along one axis. Raises ValueError where there is no such layer.

    `unpooling` undoes a max pooling of this kernel and stride, which had no padding.
    """

    kind: str  # one of KINDS
    cells: int  # of the input
    kernel: int
    stride: int = 1
    pad: int = 0  # cells added at each end; a transposed convolution cuts them off its output

    def __post_init__(self) -> None:
        _check(self)

    # What a picture needs, so that it can draw a layer without importing this module.
    @property
    def out(self) -> int:
        """Cells of the output."""
        return output_size(self)

    @property
    def sources(self) -> list[list[int]]:
        """For each output cell, the input cells that feed it."""
        return feeds(self)

    @property
    def formula(self) -> str:
        """Formula of the output's size, its numbers, and the size."""
        return formula(self)


def layer(*, kind: str, cells: int, kernel: int, stride: int, pad: int | str) -> Layer:
    """A layer whose pad may be a mode of `padding_of` by name. Raises ValueError."""
    return Layer(
        kind, cells, kernel, stride, padding_of(pad, kernel) if isinstance(pad, str) else pad
    )


def output_size(layer: Layer) -> int:
    """Cells of the output; unpooling ends at the smallest size that pools to its input."""
    if layer.kind == "conv":
        return (layer.cells + 2 * layer.pad - layer.kernel) // layer.stride + 1
    return (layer.cells - 1) * layer.stride + layer.kernel - 2 * layer.pad


def padding_of(mode: str, kernel: int) -> int:
    """Cells to add at each end: `valid` 0, `same` (kernel - 1) / 2, `full` kernel - 1.

    At stride 1, `same` keeps the size and `full` grows it by kernel - 1. Raises ValueError for an
    even kernel with `same`, which would need half a cell.
    """
    if mode not in PADDINGS:
        raise ValueError(f"padding={mode} is none of {', '.join(PADDINGS)}")
    if kernel < 1:
        raise ValueError(f"kernel={kernel} must be at least 1")
    if mode == "same" and kernel % 2 == 0:
        raise ValueError(
            f"padding=same needs an odd kernel: with kernel={kernel} it would take "
            f"(kernel - 1) / 2 = {(kernel - 1) / 2:g} cells at each end; "
            f"try kernel={kernel + 1}, or padding=valid or padding=full"
        )
    return {"valid": 0, "same": (kernel - 1) // 2, "full": kernel - 1}[mode]


def feeds(layer: Layer) -> list[list[int]]:
    """For each output cell, the indices of the input cells that feed it; padding is left out.

    Of unpooling these are the windows in which the cell lies: it receives their value if their
    maximum was there, else 0.
    """
    out, stride = range(layer.out), layer.stride
    if layer.kind == "conv":
        windows = [
            range(o * stride - layer.pad, o * stride - layer.pad + layer.kernel) for o in out
        ]
        return [[i for i in window if 0 <= i < layer.cells] for window in windows]
    cells = range(layer.cells)
    return [[i for i in cells if 0 <= o + layer.pad - i * stride < layer.kernel] for o in out]


def formula(layer: Layer) -> str:
    """Formula of the output's size, the same with this layer's numbers, and the size."""
    n, kernel, stride = layer.cells, layer.kernel, layer.stride
    twice = f"2 * {layer.pad}" if layer.pad else "0"
    if layer.kind == "conv":
        words = "floor((in + 2 * pad - kernel) / stride) + 1"
        numbers = f"floor(({n} + {twice} - {kernel}) / {stride}) + 1"
    else:
        words, numbers = "(in - 1) * stride + kernel", f"({n} - 1) * {stride} + {kernel}"
    if layer.kind == "transposed":
        words, numbers = f"{words} - 2 * pad", f"{numbers} - {twice}"
    return f"out = {words} = {numbers} = {layer.out}"


def derivation(layer: Layer) -> list[str]:
    """Lines of plain text: the size worked out, and what else the numbers say of the layer."""
    names = {"conv": "convolution", "transposed": "transposed convolution"}
    notes = {"conv": _on_conv, "transposed": _on_transposed, "unpooling": _on_unpooling}
    return [
        f"{names.get(layer.kind, layer.kind)} of {layer.cells} cells: "
        f"kernel {layer.kernel}, stride {layer.stride}, pad {layer.pad}",
        formula(layer),
        f"input cells behind each output cell: {_counts(layer)}",
        *notes[layer.kind](layer),
    ]


def padding_table(cells: int, kernel: int, stride: int) -> list[str]:
    """Lines of a table: pad and size of a convolution with each of PADDINGS."""
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
    """How many input cells are behind each output cell; many are told as runs, `2 (64 times)`."""
    counts = [len(cells) for cells in layer.sources]
    if len(counts) <= 24:  # fit on a line
        return " ".join(map(str, counts))
    runs = [(count, len(list(run))) for count, run in groupby(counts)]
    return ", ".join(f"{count} ({length} times)" for count, length in runs)


def _on_conv(layer: Layer) -> list[str]:
    over = (layer.cells + 2 * layer.pad - layer.kernel) % layer.stride
    rest = f"cells of the padded input behind the last window, which are not looked at: {over}"
    return [*([rest] if over else []), "", *padding_table(layer.cells, layer.kernel, layer.stride)]


def _on_transposed(layer: Layer) -> list[str]:
    kernel, stride, pad = layer.kernel, layer.stride, layer.pad
    lines = [
        _on_windows(kernel, stride) + ("; contributions add up" if kernel > stride else ""),
        f"a convolution of the same numbers takes {layer.out} back to {layer.cells}",
    ]
    if pad < kernel:
        lines.append(
            f"equals a convolution of stride 1, pad kernel - 1 - pad = {kernel - 1 - pad} and the "
            f"kernel mirrored, over the input with stride - 1 = {stride - 1} zeros between cells"
        )
    return lines


def _on_unpooling(layer: Layer) -> list[str]:
    largest = layer.out + layer.stride - 1
    sizes = f"{layer.out} to {largest} cells" if layer.stride > 1 else f"{layer.out} cells"
    return [
        _on_windows(layer.kernel, layer.stride),
        f"max pooling of the same kernel and stride takes {sizes} to {layer.cells}",
        "each window gets its value back where its maximum was, and 0 elsewhere; "
        "a transposed convolution writes into every cell of the window",
    ]


def _on_windows(kernel: int, stride: int) -> str:
    """How the windows of neighbouring coarse cells lie on the fine map."""
    if kernel > stride:
        return f"kernel {kernel} > stride {stride}: neighbouring windows share {kernel - stride}"
    if kernel < stride:
        gap = stride - kernel
        return f"kernel {kernel} < stride {stride}: {gap} of every {stride} are in no window, so 0"
    return f"kernel {kernel} = stride {stride}: windows lie edge to edge"


def _check(layer: Layer) -> None:
    """Raise ValueError, with what would do instead, where there is no such layer."""
    if layer.kind not in KINDS:
        raise ValueError(f"kind={layer.kind} is none of {', '.join(KINDS)}")
    for name in ("cells", "kernel", "stride", "pad"):
        if type(getattr(layer, name)) is not int:
            raise ValueError(f"{name}={getattr(layer, name)}: a whole number")
    for name, least in {"cells": 1, "kernel": 1, "stride": 1, "pad": 0}.items():
        if getattr(layer, name) < least:
            raise ValueError(f"{name}={getattr(layer, name)} must be at least {least}")
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
            f"{given}: the pad cuts off all of the output, (in - 1) * stride + kernel = {whole}; "
            f"try pad={(whole - 1) // 2} or less"
        )
