"""Joint augmentation of an image and its label."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as TF

from fcnexp.data.sample import Sample


class CropAtMost(v2.Transform):
    """A random window of at most this side; an image that is smaller stays as it is.

    Unlike `RandomCrop` it never pads: the batch is padded once, with void.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        """Window of this call, the same for image and label."""
        height, width = flat_inputs[0].shape[-2:]
        h, w = min(self.side, height), min(self.side, width)
        top = int(torch.randint(height - h + 1, ()))
        left = int(torch.randint(width - w + 1, ()))
        return {"top": top, "left": left, "height": h, "width": w}

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        """Cut the window out."""
        return TF.crop(inpt, **params)


class ScaleBy(v2.Transform):
    """Resize by a random factor: images bilinearly, labels by the nearest pixel."""

    def __init__(self, smallest: float, largest: float) -> None:
        super().__init__()
        self.smallest, self.largest = smallest, largest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, list[int]]:
        """Size of this call, the same for image and label."""
        factor = self.smallest + float(torch.rand(())) * (self.largest - self.smallest)
        return {"size": [max(1, round(side * factor)) for side in flat_inputs[0].shape[-2:]]}

    def transform(self, inpt: Any, params: dict[str, list[int]]) -> Any:
        """Resize, antialiased where it is an image.

        torchvision takes a mask's upper left pixel of each cell, which moves labels against the
        image by up to half a pixel; `NEAREST_EXACT` takes the middle one.
        """
        if isinstance(inpt, tv_tensors.Mask):
            resized = TF.resize_image(inpt[None], params["size"], InterpolationMode.NEAREST_EXACT)
            return tv_tensors.wrap(resized[0], like=inpt)
        return TF.resize(inpt, params["size"], antialias=True)


class Augment:
    """What is done to each training image and its label; every number at its neutral is nothing.

    mirror: probability of a left-right flip (neutral 0).
    scale: smallest and largest resize factor (neutral 1, 1).
    crop: largest side of a random window, in pixels (neutral null, whole images as in the paper).
    colour: strength of brightness, contrast and saturation jitter (neutral 0).
    """

    def __init__(
        self, *, mirror: float, scale: tuple[float, float], crop: int | None, colour: float
    ) -> None:
        steps: list[v2.Transform] = []
        if tuple(scale) != (1, 1):
            steps.append(ScaleBy(*scale))
        if crop is not None:
            steps.append(CropAtMost(crop))
        if mirror:
            steps.append(v2.RandomHorizontalFlip(mirror))
        if colour:
            steps.append(v2.ColorJitter(brightness=colour, contrast=colour, saturation=colour))
        self.steps = v2.Compose(steps) if steps else None

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Augmented sample; the same seed gives the same result, in any process."""
        if self.steps is None or sample.label is None:
            return sample
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)  # a GPU has its own
            image, label = self.steps(
                tv_tensors.Image(sample.fields["rgb"]), tv_tensors.Mask(sample.label)
            )
        return Sample(
            sample.name, {"rgb": image.as_subclass(torch.Tensor)}, label.as_subclass(torch.Tensor)
        )
