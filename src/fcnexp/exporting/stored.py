"""Nets that take fields as stored, with the input recipe inside."""

import torch
from torch import Tensor, nn

from fcnexp import label_type
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.pooling import MaxPool
from fcnexp.nn.streams import Network

KINDS = {  # dtype, shape and content of each field
    "rgb": "uint8 (N, 3, H, W), RGB",
    "hha": "uint8 (N, 3, H, W), disparity, height, angle",
    "depth": "int32 (N, 1, H, W), millimetres, 0 where missing",
    "bands": "float32 (N, C, H, W), all bands of a file as stored, missing pixels also as NaN",
}
FARTHEST = 9000  # mm: about the largest depth of NYUDv2's rooms


class AsStored(nn.Module):
    """Net with its input recipe inside. labels: also return the label map of each task.

    outputs: names of what it returns, `scores` and `labels`; those of several tasks end in the name
    of their task: `scores_sem`, `scores_geo`, `labels_sem`, `labels_geo`.
    """

    def __init__(self, net: Network, recipe: InputRecipe, *, labels: bool) -> None:
        super().__init__()
        self.net, self.recipe, self.labels = net, recipe, labels
        ends = [f"_{task}" for task in net.outputs] if len(net.outputs) > 1 else [""]
        kinds = ("scores", "labels") if labels else ("scores",)
        self.outputs = [kind + end for kind in kinds for end in ends]

    def forward(self, *fields: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return scores, float32 (N, K, H, W), and if `labels` the labels, (N, H, W).

        Those of each task, if there are several: all scores first. fields: as stored, see `KINDS`,
        in the recipe's order.
        """
        recipes = zip(self.recipe.fields.items(), fields, strict=True)
        scores = self.net({name: recipe.apply(stored) for (name, recipe), stored in recipes})
        tasks = len(self.net.outputs)
        parts = scores.split(list(self.net.outputs.values()), 1) if tasks > 1 else (scores,)
        labels = [labels_of(part) for part in parts] if self.labels else []
        return (*parts, *labels) if len(self.outputs) > 1 else scores


def kind_of(name: str, recipe: InputRecipe) -> str:
    """Dtype, shape and content of a field of this recipe."""
    return KINDS[name].replace("C,", f"{recipe.stored_channels[name]},")


def labels_of(scores: Tensor) -> Tensor:
    """Best class of scores (N, K, H, W): uint8 (N, H, W), or int16 with more than 255 classes."""
    return scores.argmax(1).to(getattr(torch, label_type(scores.shape[1])))


def least_side(net: AsStored) -> int:
    """Smallest side, in pixels, of an image whose maps hold at least one window of each pooling.

    The net itself pads smaller maps; an exported graph, which has no branches, cannot.
    """
    short: list[MaxPool] = []

    def note(pool: MaxPool, given: tuple[Tensor, ...], _: Tensor) -> None:
        if not pool.finds((given[0].shape[-2], given[0].shape[-1])):
            short.append(pool)

    pools = [module for module in net.modules() if isinstance(module, MaxPool)]
    hooks = [pool.register_forward_hook(note) for pool in pools]
    side = 0
    try:
        while not side or short:
            side += 1
            short.clear()
            with torch.inference_mode():
                net(*made_up(net.recipe, 1, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return side


def made_up(recipe: InputRecipe, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Random fields as stored, in the recipe's order; deterministic for a given size."""
    generator = torch.Generator().manual_seed(0)

    def field(name: str) -> Tensor:
        depth, size = name == "depth", (batch, recipe.stored_channels[name], height, width)
        if name == "bands" and recipe.bands is not None:
            mean, std = torch.tensor([recipe.bands.mean, recipe.bands.std])[..., None, None]
            return torch.randn(size, generator=generator) * std + mean
        high, kind = (FARTHEST, torch.int32) if depth else (256, torch.uint8)
        return torch.randint(0, high, size, dtype=kind, generator=generator)

    return tuple(field(name) for name in recipe.fields)
