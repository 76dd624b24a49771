"""Checks that a checkpoint's entries have the types and values that a run writes."""

from typing import Any

import torch
from torch import Tensor

from fcnexp import MOST_CLASSES
from fcnexp.errors import WeightsError
from fcnexp.scoring.tasks import is_name
from fcnexp.system.bounded import check_size
from fcnexp.system.visible import visible

PARTS = ("modality", "backbone", "head", "model", "dense", "data")  # of the stored config
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # as in fcnexp.config.checks
SIDES = ("foreground", "background", "shape", None)  # as in fcnexp.task.masking


def check_entries(stored: dict, path: Any) -> None:
    """Raise WeightsError, naming the file and the entry, if no run writes such an entry.

    stored: its `fcnexp` must be a dict of this checkpoint version.
    """
    facts, weights = stored["fcnexp"], stored["state_dict"]
    try:
        check_size(facts)
    except ValueError as error:  # shared parts of parts can stand for billions of values
        raise _damaged(path, f"fcnexp holds {error}") from None
    for name, is_valid in _ENTRIES.items():
        if name not in facts:
            raise _damaged(path, f"fcnexp.{name} is missing")
        if not is_valid(facts[name]):
            raise _damaged(path, f"fcnexp.{name} is not valid")
    names, classes = len(facts["class_names"]), sum(facts["outputs"].values())
    if names != classes:
        what = f"fcnexp.class_names has {names} names for {classes} classes in fcnexp.outputs"
        raise _damaged(path, what)
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise _damaged(path, "state_dict is not valid")
    for name, value in weights.items():
        if not _is_dense_tensor(value):
            raise _damaged(path, f"state_dict.{name} is not a dense tensor")


def check_values(name: str, value: Tensor, own: Tensor, path: Any) -> None:
    """Raise WeightsError if a stored tensor has another kind of dtype than the net's, or NaN."""
    if value.is_complex() or value.is_floating_point() != own.is_floating_point():
        raise WeightsError(f"{path}: {name} has dtype {value.dtype}, but the net needs {own.dtype}")
    if value.is_floating_point() and not value.is_meta and not torch.isfinite(value).all():
        raise WeightsError(
            f"{path}: {name} holds NaN or infinity: training diverged, or the file is damaged; "
            "use an earlier checkpoint"
        )


def _damaged(path: Any, what: str) -> WeightsError:
    return WeightsError(f"{path}: damaged, {what}; fetch it again")


def _is_dense_tensor(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    # An expanded view of one number is small in the file but would need full memory in the net.
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _is_outputs(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    names = all(isinstance(k, str) and is_name(k) for k in value)  # `predict` writes such folders
    counts = all(type(v) is int and v > 0 for v in value.values())
    return names and counts and sum(value.values()) <= MOST_CLASSES


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), dict) and isinstance(value[name].get("_target_"), str)
        for name in PARTS
    )


def _is_masking(value: Any) -> bool:
    sides = [value.get(when, 0) for when in ("train", "test")] if isinstance(value, dict) else [0]
    return all(isinstance(side, str | None) and side in SIDES for side in sides)


_ENTRIES = {
    "config": _is_config,
    "recipe": lambda value: isinstance(value, dict) and isinstance(value.get("fields"), dict),
    "precision": lambda value: isinstance(value, str) and value in PRECISIONS,
    "class_names": lambda value: (
        isinstance(value, list) and all(isinstance(n, str) and visible(n) == n for n in value)
    ),
    "outputs": _is_outputs,
    "masking": _is_masking,
}
