"""Reading a run's checkpoint: plain values and tensors, never code."""

import errno
import zipfile
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from fcnexp.errors import OtherVersionError, WeightsError
from fcnexp.nn.weights.checkpoint_checks import refuse_misshapen, refuse_other_numbers
from fcnexp.system import checkpoint_store
from fcnexp.system.os_errors import let_through

KERNEL = ".upsampling.kernel"  # of an interpolation that is trained
DECODER = ".levels."  # in the names of a DeconvNet's decoder
FOLDER = 0x10  # of a zip entry's attributes
CHECKPOINT_VERSION = 3  # raise it when what checkpoints hold beside weights changes


def read_checkpoint(path: str | Path, *, mapped: bool = False) -> dict:
    """A run's checkpoint as plain values and tensors; it cannot run code.

    mapped: leave tensors in the file until they are looked at, so that the optimiser's take no
    memory; the file must stay as it is meanwhile.

    Raises WeightsError where it is missing, damaged or not one of ours, OSError where it cannot be
    read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(f"{path}: no such checkpoint; a run keeps its own in checkpoints/")
    index = _index(path)
    if index is None:  # torch's own words are of mmap, or a number
        raise WeightsError(
            f"{path}: damaged, or not a checkpoint; a run keeps its own in checkpoints/"
        )
    if not checkpoint_store.is_whole(path):
        raise WeightsError(f"{path}: damaged; take previous.ckpt beside it, or a copy")
    if any(one.external_attr & FOLDER for one in index):  # torch gives what lies in memory for it
        raise WeightsError(f"{path}: damaged, a tensor of it is marked as a folder; fetch it again")
    # torch maps packed bytes as if they were tensors.
    mapped = mapped and all(one.compress_type == zipfile.ZIP_STORED for one in index)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError:  # torch's own words are of how to run it all the same
        raise WeightsError(
            f"{path}: damaged, or not a checkpoint: it holds more than plain values and tensors, "
            "which could run code"
        ) from None
    except Exception as error:  # torch raises many types on damaged files
        let_through(error)
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({first})") from None
    if not isinstance(stored, dict) or "fcnexp" not in stored or "state_dict" not in stored:
        raise WeightsError(f"{path}: a torch file, but not a checkpoint of fcnexp")
    if not isinstance(stored["fcnexp"], dict):
        raise WeightsError(
            f"{path}: a state dict of python -m fcnexp.export, which other programs read; give the "
            "checkpoints/*.ckpt that it was made of"
        )
    version = stored["fcnexp"].get("version")
    if version != CHECKPOINT_VERSION:
        raise OtherVersionError(
            f"{path}: checkpoint version {version}, this fcnexp reads {CHECKPOINT_VERSION}; "
            "use the fcnexp that wrote it"
        )
    refuse_misshapen(stored, path)
    return stored


def _index(path: Path) -> list[zipfile.ZipInfo] | None:
    """What a zip file says that it holds; None where it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before the file's beginning: of a damaged one
            return None
        raise  # its disk or its rights are wrong, not the file
    except Exception:  # zipfile's many types
        return None


def load_weights(net: nn.Module, stored: dict, path: str | Path) -> None:
    """Fill a net from a checkpoint. Raises WeightsError where a tensor does not fit."""
    _load(net, _weights_of(stored), path)


def parent_weights(net: nn.Module, stored: dict, path: str | Path) -> dict[str, Tensor]:
    """Fill a net from a checkpoint of its own, or of a net that is a part of it.

    The parent of an FCN is a coarser one, which lacks a skip or more; that of a DeconvNet may be
    any FCN of the same backbone and head, whose class scores and skips it has no use for. An
    interpolation that is trained here and was not there starts bilinear.
    Returns the parameters that the checkpoint has not, by name; they keep their values.
    Raises WeightsError where anything else is missing or does not fit.
    """
    weights, own = _weights_of(stored), net.state_dict()
    if any(DECODER in name for name in own) and not any(DECODER in name for name in weights):
        weights = {name: value for name, value in weights.items() if _is_encoder(name)}
        missing = {name for name in own if not _is_encoder(name)}
    else:
        missing = {name for name in own if ".skips." in name and name not in weights}
        # The last interpolation's kernel is another one at each depth.
        missing |= {n for n in own if n.endswith(KERNEL) and not _fits(own[n], weights.get(n))}
        _refuse_trained_kernels(set(weights) - set(own), path)
        weights = {name: value for name, value in weights.items() if name not in missing}
    _load(net, weights | {name: own[name] for name in missing}, path)
    return {name: value for name, value in net.named_parameters() if name in missing}


def _fits(own: Tensor, found: Tensor | None) -> bool:
    return found is not None and found.shape == own.shape


def _refuse_trained_kernels(surplus: set[str], path: str | Path) -> None:
    if kernels := sorted(name for name in surplus if name.endswith(KERNEL)):
        raise WeightsError(
            f"{path}: its interpolations were trained ({kernels[0]} ...); choose "
            "dense=deconv_learned with the same dense.learned"
        )


def _is_encoder(name: str) -> bool:
    return ".backbone." in name or (".head." in name and ".score_fr." not in name)


def _weights_of(stored: dict) -> dict[str, Tensor]:
    return {
        name.removeprefix("net."): tensor
        for name, tensor in stored["state_dict"].items()
        if name.startswith("net.")
    }


def refuse_other_net(net: nn.Module, stored: dict, path: str | Path) -> None:
    """Raise WeightsError where names or shapes differ; the net may be on the meta device."""
    _refuse_unlike(net, _weights_of(stored), path)


def _load(net: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    _refuse_unlike(net, weights, path)
    own = net.state_dict()
    for name, value in weights.items():
        refuse_other_numbers(name, value, own[name], path)
    net.load_state_dict(weights)


def _refuse_unlike(net: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    own = net.state_dict()
    others = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    wrong = [
        f"size mismatch for {name}: {tuple(weights[name].shape)}, here {tuple(own[name].shape)}"
        for name in others[:1]
    ]
    for names, words in (
        ([name for name in own if name not in weights], "not in it: "),
        ([name for name in weights if name not in own], "only in it: "),
    ):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        wrong += [f"{words}{name}{more}" for name in names[:1]]
    if wrong:
        raise WeightsError(f"{path}: of another net; {'; '.join(wrong)}")
