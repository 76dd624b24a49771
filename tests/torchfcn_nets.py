"""pytorch-fcn's four nets, written anew in its key layout, at any width.

A textbook net: poolings round up, the image is padded by 100, crops are constants.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

THIN = ((4, 2), (4, 2), (6, 3), (8, 3), (8, 3))  # of VGG16's blocks: channels, convolutions
FC = 5  # channels of fc6 and fc7
SKIPS = {"FCN32s": (), "FCN16s": ("pool4",), "FCN8s": ("pool4", "pool3")}
SKIPS["FCN8sAtOnce"] = SKIPS["FCN8s"]
LAST = {0: ("upscore", 32, 19), 1: ("upscore16", 16, 27), 2: ("upscore8", 8, 31)}


class TorchFcn(nn.Module):
    """One of the four nets, by name, with random weights and bilinear upsampling."""

    def __init__(self, name: str, classes: int, *, learned: bool = False) -> None:
        super().__init__()
        self.name, self.skips, before = name, SKIPS[name], 3
        for block, (width, depth) in enumerate(THIN, start=1):
            for i in range(1, depth + 1):
                pad = 100 if (block, i) == (1, 1) else 1
                self.add_module(f"conv{block}_{i}", nn.Conv2d(before, width, 3, padding=pad))
                before = width
        self.fc6, self.fc7 = nn.Conv2d(before, FC, 7), nn.Conv2d(FC, FC, 1)
        self.score_fr = nn.Conv2d(FC, classes, 1)
        for pool in self.skips:
            self.add_module(f"score_{pool}", nn.Conv2d(THIN[int(pool[-1]) - 1][0], classes, 1))
        for layer in self.children():
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=0.1)
        doubling = ["upscore2", "upscore_pool4"][: len(self.skips)]
        for layer, factor in [*((d, 2) for d in doubling), LAST[len(self.skips)][:2]]:
            up = nn.ConvTranspose2d(classes, classes, 2 * factor, factor, bias=False)
            ramp = 1 - ((torch.arange(2 * factor) + 0.5) / factor - 1).abs()
            if not learned:
                up.weight.data = torch.einsum("ab,i,j->abij", torch.eye(classes), ramp, ramp)
            self.add_module(layer, up)

    @torch.inference_mode()
    def forward(self, image: Tensor) -> Tensor:
        maps, pools = image, {}
        for block, (_, depth) in enumerate(THIN, start=1):
            for i in range(1, depth + 1):
                maps = F.relu(self.get_submodule(f"conv{block}_{i}")(maps))
            maps = pools[f"pool{block}"] = F.max_pool2d(maps, 2, 2, ceil_mode=True)
        scores = self.score_fr(F.relu(self.fc7(F.relu(self.fc6(maps)))))
        factors = {"pool4": 0.01, "pool3": 0.0001} if self.name == "FCN8sAtOnce" else {}
        crops = {"pool4": ("upscore2", 5), "pool3": ("upscore_pool4", 9)}
        for pool in self.skips:
            layer, first = crops[pool]
            scores = self.get_submodule(layer)(scores)
            fine = self.get_submodule(f"score_{pool}")(pools[pool] * factors.get(pool, 1))
            scores = scores + crop(fine, first, scores)
        layer, _, first = LAST[len(self.skips)]
        return crop(self.get_submodule(layer)(scores), first, image)


def crop(maps: Tensor, first: int, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return maps[:, :, first : first + height, first : first + width]
