"""Other names of the same layers: the files of CVPR 2015, PASCAL-Context's first, and DeconvNet's.

The nets of 2015 train their upsampling by 2, and one of these layers has a bias. The later release
fixed all upsampling and renamed the layers. Source: the deploy files of fcn-8s-pascal and
fcn-8s-pascalcontext of 2015, as later ports quote them.
"""

import re

import numpy as np
from torch import nn

from fcnexp.errors import WeightsError
from fcnexp.nn.streams import Network

UPSAMPLINGS = {
    "score2": "upscore2",
    "score4": "upscore_pool4",
    "upsample-fused-16": "upscore_pool4",
}


def todays_names(
    net: nn.Module, given: dict[str, list[np.ndarray]]
) -> tuple[dict[str, list[np.ndarray]], dict[str, str]]:
    """Return a file's blobs by the names of the later release, and the file's names by the new.

    The bias of an upsampling moves to the score layer that its output is added to, which gives the
    same sum. Raises WeightsError if there is no such layer.
    """
    renamed = {new: old for old in given if (new := _today(old, given[old])) not in given}
    back = {old: new for new, old in renamed.items()}
    result = {back.get(name, name): list(blobs) for name, blobs in given.items()}
    partners = _added_to(net)
    for new, old in renamed.items():
        if new.startswith("upscore") and len(result[new]) == 2:
            kernel, bias = result[new]
            result[new] = [kernel]
            if bias.any():
                _move_bias(bias, old, partners.get(new), result)
    return result, renamed


def _today(name: str, blobs: list[np.ndarray]) -> str:
    if name in UPSAMPLINGS:
        return UPSAMPLINGS[name]
    if name == "upsample":  # its kernel, 2 * factor or 1 less, tells which of the nets it is from
        factor = (blobs[0].shape[-1] + 1) // 2
        return "upscore" if factor == 32 else f"upscore{factor}"
    if name == "score59" or name.startswith("seg-score"):
        return "score_fr"
    return re.sub("^score-", "score_", name)


def _added_to(net: nn.Module) -> dict[str, str]:
    """Return the score layer that each upsampling's output is added to, by original names."""
    if not isinstance(net, Network):
        return {}
    return {
        upsampling: score
        for scorer in net.scorers().values()
        for upsampling, score in zip(
            scorer.upsamplings(), list(scorer.score_layers())[1:], strict=False
        )
    }


def _move_bias(
    bias: np.ndarray, old: str, score: str | None, blobs: dict[str, list[np.ndarray]]
) -> None:
    found = blobs.get(score or "", [])
    if len(found) != 2 or found[1].size != bias.size:
        raise WeightsError(
            f"layer {old} has a bias, which this net can only add to a score layer of its skips: "
            "choose the model of the file, such as model=fcn8s"
        )
    blobs[str(score)] = [found[0], found[1] + bias.reshape(found[1].shape)]
