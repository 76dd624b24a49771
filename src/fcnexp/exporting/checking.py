"""Comparison of an exported net with the net itself, at sizes that it was not traced at."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fcnexp.errors import ExportError
from fcnexp.exporting.stored import AsStored, labels_of, made_up
from fcnexp.system.os_errors import reraise_system_error

Run = Callable[[tuple[Tensor, ...]], list[Tensor]]

# Batch, height, width: odd sizes, one pixel, multiples of strides, and more than 7x32 pixels (fc6).
SIZES = ((1, 33, 65), (2, 70, 47), (1, 1, 1), (1, 7, 65), (1, 64, 64), (1, 261, 289))
TOLERANCE = 1e-4  # of the largest score


def compare(net: AsStored, run: Run, least: int, name: str) -> str:
    """Report how much a file's scores differ from the net's. Raises ExportError if too much.

    least: smallest side of an image, in pixels.
    """
    worst = 0.0
    sizes = list(dict.fromkeys((n, max(h, least), max(w, least)) for n, h, w in SIZES))
    for size in sizes:
        fields = made_up(net.recipe, *size)
        with torch.inference_mode():
            given = net(*fields)
        expected = list(given) if isinstance(given, tuple) else [given]
        try:
            found = run(fields)
        except Exception as error:  # onnxruntime and torch raise many types
            reraise_system_error(error)
            first = str(error).splitlines()[0]
            raise ExportError(f"{name}: not written; it fails at {size}: {first}") from error
        shapes = [[tuple(maps.shape) for maps in side] for side in (expected, found)]
        if shapes[0] != shapes[1]:
            raise ExportError(f"{name}: not written; it gave {shapes[1]} instead of {shapes[0]}")
        tasks = len(net.net.outputs)
        for scores, others in zip(expected[:tasks], found[:tasks], strict=True):
            off = float((scores - others).abs().max() / scores.abs().max().clamp(min=1e-30))
            if not off <= TOLERANCE:
                raise ExportError(
                    f"{name}: not written; at {size} its scores differ from the net's by {off:.1e} "
                    f"of the largest, more than {TOLERANCE:g}"
                )
            worst = max(worst, off)
        for others, labels in zip(found, found[tasks:], strict=False):
            if not torch.equal(labels, labels_of(others)):
                raise ExportError(f"{name}: not written; at {size} labels are not the argmax")
    return (
        f"scores differ from the net's by at most {worst:.1e} of the largest, at "
        f"{len(sizes)} sizes from {least}x{least} to {sizes[-1][1]}x{sizes[-1][2]}"
    )


def onnx_runner(path: Path) -> Run:
    """Return a function that runs an ONNX file in onnxruntime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(fields: tuple[Tensor, ...]) -> list[Tensor]:
        arrays = {name: field.numpy() for name, field in zip(names, fields, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, arrays)]

    return run


def program_runner(path: Path) -> Run:
    """Return a function that runs a torch.export program, read from its file."""
    # The guards come from the traced size; the program holds for more sizes.
    program = torch.export.load(path).module(check_guards=False)

    def run(fields: tuple[Tensor, ...]) -> list[Tensor]:
        given = program(*fields)
        return list(given) if isinstance(given, tuple) else [given]

    return run
