"""Export of a net to ONNX, to a torch.export program, or to a plain state dict."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fcnexp.errors import ExportError
from fcnexp.exporting.checking import compare, onnx_runner, program_runner
from fcnexp.exporting.stored import AsStored, kind_of, least_side, made_up
from fcnexp.nn.dense.shift_and_stitch import ShiftAndStitch
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.streams import Network
from fcnexp.nn.weights.safetensor_files import write_safetensors
from fcnexp.predicting.windows import NetLabeller
from fcnexp.system.atomic import atomic_file
from fcnexp.system.os_errors import reraise_system_error

KEY = "fcnexp"  # key of the facts in a file's metadata
LARGEST = 2**31  # bytes of an ONNX file, the limit of its format
MEASURED = (512, 2048)  # sides of the images whose maps are counted
TRACED = (2, 101, 114)  # batch, height, width of the example: all different, not stride multiples


def write_onnx(path: Path, net: AsStored, facts: dict[str, Any]) -> str:
    """Write an ONNX file, checked in onnxruntime; returns a report of the largest difference.

    Batch, height and width are dynamic. Raises ExportError, without leaving a file.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    if weights >= LARGEST:
        raise ExportError(
            f"format=onnx: weights of {weights / 2**30:.1f} GiB exceed the 2 GiB of an ONNX file; "
            "try format=torch_export"
        )
    _prepare(net, "onnx")
    axes = tuple({0: "batch", 2: "height", 3: "width"} for _ in net.recipe.fields)
    with _one_line_errors("onnx"), torch.no_grad():
        program = torch.onnx.export(
            net,
            made_up(net.recipe, *TRACED),
            dynamic_shapes=(axes,),
            input_names=list(net.recipe.fields),
            output_names=net.outputs,
            verbose=False,
        )
    assert program is not None
    import onnx_ir  # installed with onnxscript

    for value in program.model.graph.outputs:  # torch names sides by formulas of the inputs'
        assert value.shape is not None
        value.shape = onnx_ir.Shape(["batch", *value.shape[1:-2], "height", "width"])
    sizes = sizes_of(net)
    program.model.metadata_props[KEY] = json.dumps({**facts, **sizes})
    with atomic_file(path) as part:
        program.save(part, external_data=False)
        return compare(net, onnx_runner(part), sizes["least_side"], str(path))


def write_program(path: Path, net: AsStored, facts: dict[str, Any]) -> str:
    """Write a torch.export program, read back and checked; returns a report as `write_onnx` does.

    Batch, height and width are dynamic. Raises ExportError, without leaving a file.
    """
    _prepare(net, "torch_export")
    free = torch.export.Dim.AUTO
    axes = tuple({0: free, 2: free, 3: free} for _ in net.recipe.fields)
    with _one_line_errors("torch_export"), torch.no_grad():
        example = made_up(net.recipe, *TRACED)
        program = torch.export.export(net, example, dynamic_shapes=(axes,))
    sizes = sizes_of(net)
    with atomic_file(path) as part:
        torch.export.save(program, part, extra_files={KEY: json.dumps({**facts, **sizes})})
        return compare(net, program_runner(part), sizes["least_side"], str(path))


def write_state_dict(path: Path, net: Network, facts: dict[str, Any]) -> None:
    """Write a net's state dict, with the facts as plain values."""
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    with atomic_file(path) as part, part.open("wb") as file:  # torch's own errors lack the reason
        torch.save({"state_dict": tensors, **facts}, file)


def write_shared(path: Path, net: Network, facts: dict[str, Any], known: dict[str, Any]) -> None:
    """Write a safetensors file that `read_checkpoint` reads. known: a checkpoint's facts.

    Of the data's folder, only the name is kept: its path says where somebody's files are.
    """
    config = dict(known["config"])
    config["data"] = {
        key: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
        for key, value in config["data"].items()
    }
    with atomic_file(path) as part:
        write_safetensors(part, net.state_dict(), facts, known | {"config": config})


def facts_of(
    net: Network, recipe: InputRecipe, known: dict[str, Any], source: dict[str, str]
) -> dict[str, Any]:
    """Return the metadata of a net, as plain values.

    known: a checkpoint's facts. source: name and digest of the checkpoint.
    """
    from fcnexp import __version__

    stream = next(iter(net.scorers().values()))
    return {
        "fcnexp": __version__,
        "class_names": list(known["class_names"]),
        "outputs": dict(net.outputs),
        "takes": {name: kind_of(name, recipe) for name in recipe.fields},
        "recipe": recipe.facts(),
        "model": type(stream).__name__,
        "backbone": type(stream.backbone).__name__,
        "skips": [int(stride) for stride in stream.skips],
        "dense": type(net.net.dense).__name__,
        "config": {name: part for name, part in known["config"].items() if name != "data"},
        "checkpoint": source,
    }


def sizes_of(net: AsStored) -> dict[str, Any]:
    """Return the metadata on image sizes, in pixels, and memory, in bytes.

    least_side: see `least_side`. tiling: grid that windows of a large image must be aligned to;
    null if it cannot be cut. memory: upper bound for an image's maps: `fixed`, `per_side` times
    height plus width (from padding), and `per_pixel`.
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
    """Prepare a net for tracing. Raises ExportError if it cannot be traced."""
    if isinstance(net.net.net.dense, ShiftAndStitch):
        raise ExportError(
            f"format={form}: dense=shift_and_stitch runs its net once per shift, in batches that "
            "depend on free memory, which a fixed graph cannot do; train with dense=rarefaction "
            "init=checkpoint init.path=... regime.steps=0 to get a net with the same weights and "
            "scores in one pass, and export its checkpoint"
        )
    # With channels_last weights or gradients a trace holds for fewer sizes.
    net.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)


@contextmanager
def _one_line_errors(form: str) -> Iterator[None]:
    """Turn an error of torch's exporter, of any type, into an ExportError of one line."""
    try:
        yield
    except Exception as error:
        reraise_system_error(error)
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"format={form}: torch cannot write this net ({first}); format=state_dict writes any"
        ) from error
