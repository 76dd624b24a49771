"""Input recipe: how a photograph's bytes become a net's input. It belongs to the weights."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RgbRecipe:
    """Channel order, mean and scale that a net's weights were trained with.

    order: `bgr` (Caffe's nets) or `rgb` (torchvision's).
    mean, std: per channel in that order, in units of 0..255. Network space is `(x - mean) / std`.
    """

    order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    field = "rgb"
    channels = 3

    def __post_init__(self) -> None:
        """Refuse an unknown order. Raises ValueError."""
        if self.order not in ("bgr", "rgb"):
            raise ValueError(f"order={self.order}: allowed are bgr and rgb")
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))

    def apply(self, rgb: Tensor, sizes: Tensor) -> Tensor:
        """Network input, float32 (N, 3, H, W), of a batch, uint8 (N, 3, H, W) in RGB order.

        sizes (N, 2): height and width of each image in the padded batch. What lies beyond becomes
        0, the mean colour, which is what a convolution's own padding holds.
        """
        x = rgb.flip(1) if self.order == "bgr" else rgb
        mean = torch.tensor(self.mean, device=rgb.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=rgb.device).view(1, 3, 1, 1)
        x = ((x.float() - mean) / std).contiguous(memory_format=torch.channels_last)
        height, width = rgb.shape[-2:]
        for image, (h, w) in zip(x, sizes.tolist(), strict=True):
            if (h, w) != (height, width):
                image[:, h:] = 0
                image[:, :, w:] = 0
        return x

    def facts(self) -> dict[str, object]:
        """The recipe as plain values, to be stored beside weights."""
        return {"field": self.field, **asdict(self)}
