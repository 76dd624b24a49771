"""First-layer filters of colour nets for bands."""

import logging

import numpy as np
import torch
from torch import nn

from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.layers import widen
from fcnexp.nn.streams import Network

log = logging.getLogger(__name__)


def give_colours(net: Network, recipe: InputRecipe) -> None:
    """Give the bands of red, green and blue the filters of their colours, all others their mean.

    For a net of bands whose first layer `widen` has just filled from a colour net's; nothing
    happens to other nets. If not all three colours are known, and among the net's bands, every band
    gets the mean. Source: as the depth of nyud-fcn32s-color-d, see `widen`.
    """
    if recipe.bands is None:
        return
    colours = recipe.bands.colour_channels
    for scorer in net.scorers().values():
        layer = _first_convolution(scorer, recipe.bands.channels)  # type: ignore[arg-type]  # a Module
        if layer is None:
            continue
        filters = layer.weight.detach().cpu().numpy()
        if layer.in_channels < 3:
            continue  # these have the mean already
        own = filters[:, :3].copy()
        if not np.allclose(widen(own, layer.in_channels), filters):
            log.info("first layer: the bands have the filters that the weights' library gives them")
            continue
        filled = torch.from_numpy(own.mean(1, keepdims=True)).repeat(1, layer.in_channels, 1, 1)
        for place, channel in enumerate(colours or ()):
            filled[:, channel] = torch.from_numpy(own[:, place])
        with torch.no_grad():
            layer.weight.copy_(filled)
        log.info("first layer: %s", _what(recipe))


def _first_convolution(scorer: nn.Module, channels: int) -> nn.Conv2d | None:
    convolutions = (module for module in scorer.modules() if isinstance(module, nn.Conv2d))
    first = next(convolutions, None)
    return first if first is not None and first.in_channels == channels else None


def _what(recipe: InputRecipe) -> str:
    bands = recipe.bands
    assert bands is not None
    if bands.rgb is None or bands.colour_channels is None:
        why = "are not given (modality.bands.rgb)" if bands.rgb is None else "are not all in use"
        return f"every band has the mean of the colour filters, as red, green and blue {why}"
    red, green, blue = bands.rgb
    return f"bands {red}, {green}, {blue} have the filters of red, green, blue, others their mean"
