"""Writing a net to a file: ONNX, a program of torch.export, or plain tensors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fcnexp.errors import ExportError
from fcnexp.exporting.checking import compare, onnx_runner, program_runner
from fcnexp.exporting.stored import KINDS, AsStored, least_side, made_up
from fcnexp.nn.dense.shift_and_stitch import ShiftAndStitch
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.streams import Network
from fcnexp.predicting.windows import NetLabeller
from fcnexp.system.atomic import whole
from fcnexp.system.os_errors import let_through

KEY = "fcnexp"  # of the facts in a file's metadata
LARGEST = 2**31  # bytes of an ONNX file, the limit of its format
MEASURED = (512, 2048)  # sides of the images whose maps are counted
TRACED = (2, 101, 114)  # batch and size of the example: not alike, and no multiples of a stride


def write_onnx(path: Path, net: AsStored, facts: dict[str, Any]) -> str:
    """Write an ONNX file of a net, checked in onnxruntime; returns how far the two differ.

    Batch, height and width are free. Raises ExportError, and leaves no file then.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    if weights >= LARGEST:
        raise ExportError(
            f"format=onnx: weights of {weights / 2**30:.1f} GiB, and an ONNX file holds 2; choose "
            "format=torch_export"
        )
    _prepare(net, "onnx")
    axes = tuple({0: "batch", 2: "height", 3: "width"} for _ in net.recipe.fields)
    outputs = ["scores", "labels"] if net.labels else ["scores"]
    with _told("onnx"), torch.no_grad():
        program = torch.onnx.export(
            net,
            made_up(net.recipe, *TRACED),
            dynamic_shapes=(axes,),
            input_names=list(net.recipe.fields),
            output_names=outputs,
            verbose=False,
        )
    assert program is not None
    import onnx_ir  # which comes with onnxscript

    for value in program.model.graph.outputs:  # torch tells them as formulas of the inputs'
        assert value.shape is not None
        value.shape = onnx_ir.Shape(["batch", *value.shape[1:-2], "height", "width"])
    sizes = sizes_of(net)
    program.model.metadata_props[KEY] = json.dumps({**facts, **sizes})
    with _finished(path) as part:
        program.save(part, external_data=False)
        return compare(net, onnx_runner(part), sizes["least_side"], str(path))


def write_program(path: Path, net: AsStored, facts: dict[str, Any]) -> str:
    """Write a program of torch.export, read again and checked; returns how far the two differ.

    Batch, height and width are free. Raises ExportError, and leaves no file then.
    """
    _prepare(net, "torch_export")
    free = torch.export.Dim.AUTO
    axes = tuple({0: free, 2: free, 3: free} for _ in net.recipe.fields)
    with _told("torch_export"), torch.no_grad():
        example = made_up(net.recipe, *TRACED)
        program = torch.export.export(net, example, dynamic_shapes=(axes,))
    sizes = sizes_of(net)
    with _finished(path) as part:
        told = json.dumps({**facts, **sizes})
        torch.export.save(program, part, extra_files={KEY: told})
        return compare(net, program_runner(part), sizes["least_side"], str(path))


def write_state_dict(path: Path, net: Network, facts: dict[str, Any]) -> None:
    """Write a net's tensors under its own names, with the facts, as plain values."""
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    with _finished(path) as part, part.open("wb") as file:  # whose errors say why, torch's do not
        torch.save({"state_dict": tensors, **facts}, file)


def facts_of(
    net: Network, recipe: InputRecipe, known: dict[str, Any], source: dict[str, str]
) -> dict[str, Any]:
    """What a file tells of its net, as plain values.

    known: a checkpoint's facts; source: name and digest of the checkpoint.
    """
    from fcnexp import __version__

    stream = next(iter(net.scorers().values()))
    return {
        "fcnexp": __version__,
        "class_names": list(known["class_names"]),
        "outputs": dict(net.outputs),
        "takes": {name: KINDS[name] for name in recipe.fields},
        "recipe": recipe.facts(),
        "model": type(stream).__name__,
        "backbone": type(stream.backbone).__name__,
        "skips": [int(stride) for stride in stream.skips],
        "dense": type(net.net.dense).__name__,
        "config": {name: part for name, part in known["config"].items() if name != "data"},
        "checkpoint": source,
    }


def sizes_of(net: AsStored) -> dict[str, Any]:
    """What a file tells of the images that its net takes, in pixels and bytes.

    least_side: see there. tiling: where windows of a large image may lie; null: nowhere.
    memory: what the maps of an image take at most, `fixed`, `per_side` of height plus width (of
    what a net pads), and `per_pixel`.
    """
    labeller = NetLabeller(net.net, net.recipe, ())
    short, long = MEASURED
    small, thin, large = (
        labeller.bytes_of(*s) for s in ((short, short), (short, long), (long, long))
    )
    per_pixel = (small + large - 2 * thin) / (long - short) ** 2
    per_side = (thin - small) / (long - short) - per_pixel * short
    return {
        "least_side": least_side(net),
        "tiling": labeller.tiling and asdict(labeller.tiling),
        "memory": {
            "fixed": small - 2 * per_side * short - per_pixel * short**2,
            "per_side": per_side,
            "per_pixel": per_pixel,
        },
    }


def _prepare(net: AsStored, form: str) -> None:
    """Bring a net into the shape in which it is traced. Raises ExportError where it cannot be."""
    if isinstance(net.net.net.dense, ShiftAndStitch):
        raise ExportError(
            f"format={form}: dense=shift_and_stitch runs its net once for every shift, as many "
            "together as memory holds, which no graph of fixed steps can do; train with "
            "dense=rarefaction init=checkpoint init.path=... regime.steps=0 to have the same "
            "weights as a net that gives such scores in one run, and export that one's checkpoint"
        )
    # With another layout of memory, and with gradients, a trace holds for fewer sizes.
    net.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)


@contextmanager
def _told(form: str) -> Iterator[None]:
    """Tell of an error of torch's exporter in one line; it raises many types."""
    try:
        yield
    except Exception as error:
        let_through(error)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"format={form}: torch cannot write this net ({first}); format=state_dict writes any"
        ) from error


@contextmanager
def _finished(path: Path) -> Iterator[Path]:
    """A place to write to, which becomes the file when all has gone well, and else is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part:
        yield part
