"""A net that takes fields as they are stored, so that nobody can feed it wrongly."""

import torch
from torch import Tensor, nn

from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.pooling import MaxPool
from fcnexp.nn.streams import Network

KINDS = {  # of each field: what a file says that it takes
    "rgb": "uint8 (N, 3, H, W), RGB",
    "hha": "uint8 (N, 3, H, W), disparity, height, angle",
    "depth": "int32 (N, 1, H, W), millimetres, 0 where missing",
}
FARTHEST = 9000  # mm: about the largest depth of NYUDv2's rooms


class AsStored(nn.Module):
    """A net with its input recipe inside.

    labels: give the label map, too.
    """

    def __init__(self, net: Network, recipe: InputRecipe, *, labels: bool) -> None:
        super().__init__()
        self.net, self.recipe, self.labels = net, recipe, labels

    def forward(self, *fields: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Scores, float32 (N, K, H, W), and, where asked for, labels, uint8 (N, H, W).

        fields: as stored, see `KINDS`, in the recipe's order.
        """
        recipes = zip(self.recipe.fields.items(), fields, strict=True)
        scores = self.net({name: recipe.apply(stored) for (name, recipe), stored in recipes})
        return (scores, scores.argmax(1).to(torch.uint8)) if self.labels else scores


def least_side(net: AsStored) -> int:
    """Pixels that an image has to have along each axis, lest a pooling finds no window in its map.

    The net itself pads such maps; a graph, which has no branches, does not.
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
    """Random fields as stored, in the recipe's order; the same each time for a size."""
    generator = torch.Generator().manual_seed(0)

    def field(name: str) -> Tensor:
        depth = name == "depth"
        size = (batch, 1 if depth else 3, height, width)
        high, kind = (FARTHEST, torch.int32) if depth else (256, torch.uint8)
        return torch.randint(0, high, size, dtype=kind, generator=generator)

    return tuple(field(name) for name in recipe.fields)
