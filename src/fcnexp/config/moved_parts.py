"""Parts that have moved, so that stored configs keep working.

Checkpoints and run folders hold `_target_` paths. A path that was written before its part moved is
read as the part's present one, and digests of configs keep using the first one: jobs that are done
stay done.
"""

from typing import Any

PRESENT = {
    "fcnexp.nn.dense.Bilinear": "fcnexp.nn.dense.interpolation.Bilinear",
    "fcnexp.nn.dense.Deconvolution": "fcnexp.nn.dense.deconvolution.Deconvolution",
    "fcnexp.nn.dense.LearnedDeconvolution": "fcnexp.nn.dense.deconvolution.LearnedDeconvolution",
    "fcnexp.nn.rarefy.Rarefaction": "fcnexp.nn.dense.rarefaction.Rarefaction",
    "fcnexp.nn.shift.ShiftAndStitch": "fcnexp.nn.dense.shift_and_stitch.ShiftAndStitch",
} | {
    f"fcnexp.nn.init.{name}": f"fcnexp.nn.weights.init.{name}"
    for name in ("caffemodel", "checkpoint", "imagenet", "scratch", "staged", "streams")
}
FIRST = {present: first for first, present in PRESENT.items()}


def renamed(node: Any, names: dict[str, str] = PRESENT) -> Any:
    """A copy of a plain config in which each `_target_` has the name that `names` gives it."""
    if isinstance(node, dict):
        return {
            key: names.get(value, value)
            if key == "_target_" and isinstance(value, str)
            else renamed(value, names)
            for key, value in node.items()
        }
    return [renamed(value, names) for value in node] if isinstance(node, list) else node
