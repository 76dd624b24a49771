"""Colour input of trunks of torchvision and timm, from each net's own settings."""

from fcnexp.nn.backbones import timm
from fcnexp.nn.backbones.torchvision import published
from fcnexp.nn.inputs import Colour


def own_colour(name: str | None, of: str | None) -> Colour:
    """Return the colour input that a net's published weights were trained with, RGB.

    name: of the net. of: `_target_` of the backbone. Raises ValueError if the backbone is not of
    torchvision or timm, or if they have no such net.
    """
    kind = str(of).rpartition(".")[2]
    if name is not None and kind == "TorchvisionTrunk":
        preset = published(name).transforms()
        mean, std = preset.mean, preset.std
    elif name is not None and kind == "TimmTrunk":
        mean, std = timm.mean_and_std(name)
    else:
        raise ValueError(
            "modality=rgb_backbone takes the means of a net of torchvision or timm; choose "
            "backbone=torchvision or timm, or another modality"
        )
    return Colour("rgb", *(tuple(255 * value for value in values) for values in (mean, std)))
