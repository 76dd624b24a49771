"""Whether what a checkpoint holds has the shape that a run gives it."""

from typing import Any

import torch
from torch import Tensor

from fcnexp.errors import WeightsError

PARTS = ("modality", "backbone", "head", "model", "dense", "data")  # of the stored config
PRECISIONS = ("32-true", "bf16-mixed")  # as in fcnexp.run.trainers
SIDES = ("foreground", "background", "shape", None)  # as in fcnexp.task.masking
MOST_CLASSES = 255  # labels are of 8 bits, and 255 is void


def refuse_misshapen(stored: dict, path: Any) -> None:
    """Raise WeightsError, naming the file and the entry, where a run has not written it like that.

    stored: of which `fcnexp` is a dict of this version.
    """
    for name, is_right in _ENTRIES.items():
        if name not in stored["fcnexp"]:
            raise WeightsError(f"{path}: damaged, it lacks fcnexp.{name}; fetch it again")
        if not is_right(stored["fcnexp"][name]):
            raise WeightsError(f"{path}: damaged, its fcnexp.{name} is none; fetch it again")
    facts, weights = stored["fcnexp"], stored["state_dict"]
    if len(facts["class_names"]) != sum(facts["outputs"].values()):
        raise WeightsError(
            f"{path}: damaged, {len(facts['class_names'])} names in fcnexp.class_names for "
            f"{sum(facts['outputs'].values())} classes in fcnexp.outputs; fetch it again"
        )
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise WeightsError(f"{path}: damaged, its state_dict is none; fetch it again")
    for name, value in weights.items():
        if not _is_plain(value):
            raise WeightsError(
                f"{path}: damaged, state_dict.{name} is no tensor of plain numbers; fetch it again"
            )


def refuse_other_numbers(name: str, value: Tensor, own: Tensor, path: Any) -> None:
    """Raise WeightsError where a stored tensor is none for this one of the net.

    NaN and infinity would make any image of it nonsense. name: of both.
    """
    if value.is_complex() or value.is_floating_point() != own.is_floating_point():
        raise WeightsError(f"{path}: {name} is of {value.dtype}, the net's of {own.dtype}")
    if value.is_floating_point() and not value.is_meta and not torch.isfinite(value).all():
        raise WeightsError(
            f"{path}: {name} holds NaN or infinity: its training had diverged, or it is damaged; "
            "take an earlier checkpoint"
        )


def _is_plain(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    # One stored number may be shown as many, which costs nothing here, but does in the net.
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def _is_outputs(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    good = all(isinstance(k, str) and type(v) is int and v > 0 for k, v in value.items())
    return good and sum(value.values()) <= MOST_CLASSES


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), dict) and isinstance(value[name].get("_target_"), str)
        for name in PARTS
    )


def _is_recipe(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("fields"), dict)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_masking(value: Any) -> bool:
    return isinstance(value, dict) and all(
        value.get(when, 0) in SIDES for when in ("train", "test")
    )


_ENTRIES = {
    "config": _is_config,
    "recipe": _is_recipe,
    "precision": lambda value: value in PRECISIONS,
    "class_names": _is_names,
    "outputs": _is_outputs,
    "masking": _is_masking,
}
