"""Reading of torch files without running code from them, and what a file is if it is not one."""

import argparse
import errno
import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from fcnexp.errors import WeightsError
from fcnexp.system import checkpoint_store
from fcnexp.system.os_errors import reraise_system_error

MOST_PACKED = 10  # times as large as its file may a packed checkpoint be
SLACK = 2**26  # bytes that any file may unpack to
FOLDER = 0x10  # of a zip entry's attributes
OLD_FORMAT = b"\x80\x02"  # a pickle, as torch wrote before version 1.6
CAFFE = "init=caffemodel reads the .caffemodel that it was made from"
# Other formats by their first octets: what such a file is, and what reads it.
FORMATS = {
    b"\x89HDF": f"an HDF5 file (of Keras or Caffe); {CAFFE}",
    b"MATLAB": f"a MATLAB file (of MatConvNet); {CAFFE}",
    b"\x93NUMPY": "a NumPy array; give a torch file",
}


def read_torch(path: Path, *, mapped: bool = False, others: bool = False) -> Any:
    """Read the plain values and tensors of a torch file, without running code from it.

    mapped: memory-map tensors. others: also read what other programs write besides weights: torch's
    format before 1.6, NumPy numbers and command-line options.
    Raises WeightsError if the file is missing, damaged or of another format, OSError if it cannot
    be read.
    """
    if not path.is_file():
        inside = path / "checkpoints" / checkpoint_store.LAST
        where = f"give {inside}" if inside.is_file() else "runs write theirs to checkpoints/"
        raise WeightsError(f"{path}: no such checkpoint; {where}")
    index = _index(path)
    if index is None and not (others and _starts(path) == OLD_FORMAT):
        # torch's own message would be about mmap, or only a number
        raise WeightsError(f"{path}: {_format_of(path)}; runs write theirs to checkpoints/")
    if index is not None:
        _check_zip(path, index)
    # torch would map compressed bytes as if they were tensors.
    mapped = mapped and all(one.compress_type == zipfile.ZIP_STORED for one in index or [])
    try:
        with torch.serialization.safe_globals(_harmless() if others else []):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError:  # torch's own message tells how to run the code anyway
        raise WeightsError(
            f"{path}: damaged, or not a checkpoint: it holds more than plain values and tensors, "
            f"which could run code{_pickled_net(path)}"
        ) from None
    except Exception as error:  # torch raises many types on damaged files
        reraise_system_error(error)
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({first})") from None


def _check_zip(path: Path, index: list[zipfile.ZipInfo]) -> None:
    """Raise WeightsError if a zip is damaged, or was not written by torch.save."""
    names = [one.filename for one in index]
    if any(name.endswith("/constants.pkl") for name in names):
        raise WeightsError(
            f"{path}: a TorchScript program, not a checkpoint; save its weights: "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    if names and all(name.endswith(".npy") for name in names):
        raise WeightsError(f"{path}: NumPy arrays (.npz), not a checkpoint; give a torch file")
    _refuse_bomb(path, index)
    if not checkpoint_store.is_intact(path):
        raise WeightsError(f"{path}: damaged; use previous.ckpt in the same folder, or a copy")
    if any(one.external_attr & FOLDER for one in index):  # torch would read uninitialised memory
        raise WeightsError(f"{path}: damaged, a tensor in it is marked as a folder; fetch it again")


def _refuse_bomb(path: Path, index: list[zipfile.ZipInfo]) -> None:
    """Raise WeightsError if a zip's entries are larger than weights in a file of its size can be.

    Weights hardly shrink when packed: by half if all momentum is still 0. Entries that lie over
    each other in the file would each be read.
    """
    size = path.stat().st_size
    unpacked = sum(one.file_size for one in index)
    packed = sum(one.compress_size for one in index)
    if packed > size or unpacked > SLACK + MOST_PACKED * size:
        raise WeightsError(
            f"{path}: {size / 1e6:.1f} MB that would unpack to {max(packed, unpacked) / 1e6:.0f} "
            "MB: damaged, or made to fill the memory; weights do not shrink that much"
        )


def _index(path: Path) -> list[zipfile.ZipInfo] | None:
    """Entries of a zip file; None if the file is not a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except OSError as error:
        if error.errno == errno.EINVAL:  # a seek before the start of a damaged file
            return None
        raise  # the disk or the permissions are at fault, not the file
    except Exception:  # zipfile raises many types
        return None


def _starts(path: Path, count: int = len(OLD_FORMAT)) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _format_of(path: Path) -> str:
    """Say what a file is that is not a zip."""
    start = _starts(path, 10)
    for octets, what in FORMATS.items():
        if start.startswith(octets):
            return f"not a checkpoint, but {what}"
    if start[8:10] == b'{"':
        return "a safetensors file, whose name must end in .safetensors"
    if path.suffix in (".caffemodel", ".onnx"):
        reader = "init=caffemodel init.path=FILE reads it"
        return f"not a checkpoint, but {path.suffix[1:]}" + (
            f": {reader}" if path.suffix == ".caffemodel" else ", which holds no trainable weights"
        )
    if start.startswith(OLD_FORMAT):
        return (
            "damaged, or not a checkpoint of fcnexp, but a torch file from before torch 1.6; if it "
            "holds a state dict, fcnexp.train reads it with init=checkpoint init.path=FILE"
        )
    return "damaged, or not a checkpoint"


def _pickled_net(path: Path) -> str:
    """Name the class of a net that was pickled whole; "" if there is none."""
    try:
        used = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # the file may be damaged in any way
        return ""
    known = ("torch.nn.modules.", "torchvision.models.", "torchfcn.models.")
    nets = [name for name in used if name.startswith(known) and not name.endswith("Parameter")]
    if not nets:
        return ""
    return (
        f"; if a whole net was pickled ({nets[0]} ...), save its weights alone where it can be "
        "loaded: torch.save(net.state_dict(), 'weights.pth')"
    )


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """What other programs store beside weights, such as pytorch-fcn its best mean IU."""
    kinds = [type(np.dtype(name)) for name in ("f8", "f4", "i8", "i4", "?")]
    numbers = [(_number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*numbers, np.dtype, *kinds, argparse.Namespace]


def _number(kind: np.dtype[Any], octets: bytes) -> Any:
    """A NumPy number from its octets; unlike NumPy's own function, it never unpickles."""
    return np.frombuffer(octets, kind)[0].item()
