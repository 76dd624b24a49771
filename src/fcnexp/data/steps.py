"""Steps of the augmentation, on all fields of an image and its label at once, by torchvision."""

from collections.abc import Sequence
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as TF

from fcnexp import VOID
from fcnexp.data.sample import Sample


def joint(
    *,
    size: Sequence[int] | None,
    scale: Sequence[float],
    jitter: int,
    window: Sequence[int] | None,
    mirror: float,
) -> v2.Compose | None:
    """What is done to fields and label alike, in this order; None for nothing. See `Augment`.

    Raises ValueError.
    """
    steps: list[v2.Transform] = []
    if size is not None:
        steps.append(ResizeTo(*size))
    if tuple(scale) != (1, 1):
        steps.append(ScaleBy(*scale))
    if jitter:
        steps.append(ShiftBy(jitter))
    if window is not None:
        steps.append(CropAtMost(*window))
    if mirror:
        steps.append(v2.RandomHorizontalFlip(mirror))
    return v2.Compose(steps) if steps else None


def recolouring(strength: float) -> v2.ColorJitter | None:
    """What is done to colours alone; None for nothing. Raises ValueError."""
    if not strength:
        return None
    return v2.ColorJitter(brightness=strength, contrast=strength, saturation=strength)


def apply(sample: Sample, joint: v2.Compose | None, recolour: v2.ColorJitter | None) -> Sample:
    """The sample after these steps, whose draws are from torch's generator as it stands."""
    fields = {name: _typed(name, field) for name, field in sample.fields.items()}
    label = tv_tensors.Mask(sample.label)
    if joint:
        fields, label = joint(fields, label)
    if recolour and "rgb" in fields:
        fields["rgb"] = recolour(fields["rgb"])
    plain = {name: field.as_subclass(torch.Tensor) for name, field in fields.items()}
    return Sample(sample.name, plain, label.as_subclass(torch.Tensor))


class CropAtMost(v2.Transform):
    """A random window of at most this height and width; along an axis that is smaller, all of it.

    Unlike `RandomCrop` it never pads: the batch is padded once, with void.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def make_params(self, flat_inputs: list[Any]) -> dict[str, int]:
        """Window of this call, the same for all fields and the label."""
        height, width = flat_inputs[0].shape[-2:]
        h, w = min(self.height, height), min(self.width, width)
        top = int(torch.randint(height - h + 1, ()))
        left = int(torch.randint(width - w + 1, ()))
        return {"top": top, "left": left, "height": h, "width": w}

    def transform(self, inpt: Any, params: dict[str, int]) -> Any:
        """Cut the window out."""
        return TF.crop(inpt, **params)


class ScaleBy(v2.Transform):
    """Resize by a random factor: images bilinearly, labels and depth by the nearest pixel."""

    def __init__(self, smallest: float, largest: float) -> None:
        super().__init__()
        self.smallest, self.largest = smallest, largest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, list[int]]:
        """Size of this call, the same for all fields and the label."""
        factor = self.smallest + float(torch.rand(())) * (self.largest - self.smallest)
        return {"size": [max(1, round(side * factor)) for side in flat_inputs[0].shape[-2:]]}

    def transform(self, inpt: Any, params: dict[str, list[int]]) -> Any:
        """Resize."""
        return _resize(inpt, params["size"])


class ResizeTo(v2.Transform):
    """Resize to this height and width, whatever they were: images bilinearly, as `ScaleBy`."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = [height, width]

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize."""
        return _resize(inpt, self.size)


class ShiftBy(v2.Transform):
    """Move by a random whole number of pixels each way; some of the image always stays.

    What comes in repeats the edge's pixels: black would be an edge that no photograph has, and the
    mean is not known here. Nothing is known of its classes: there the label is void.
    """

    def __init__(self, largest: int) -> None:
        super().__init__()
        self.largest = largest

    def make_params(self, flat_inputs: list[Any]) -> dict[str, list[int]]:
        """Shift of this call, down and to the right, the same for all fields and the label."""
        most = [min(self.largest, side - 1) for side in flat_inputs[0].shape[-2:]]
        return {"shift": [int(torch.randint(-reach, reach + 1, ())) for reach in most]}

    def transform(self, inpt: Any, params: dict[str, list[int]]) -> Any:
        """Move one field, or the label, which alone has no axis of channels."""
        moved = inpt.as_subclass(torch.Tensor)
        for axis, shift in zip((-2, -1), params["shift"], strict=True):
            source = torch.arange(inpt.shape[axis]) - shift
            nearest = source.clamp(0, inpt.shape[axis] - 1)
            moved = moved.index_select(axis, nearest)
            if inpt.ndim == 2:
                moved = moved.index_fill(axis, (source != nearest).nonzero()[:, 0], VOID)
        return tv_tensors.wrap(moved, like=inpt)


def _typed(name: str, field: torch.Tensor) -> tv_tensors.TVTensor:
    # The mean of two depths, or of one and a missing one, is no surface: depth scales like a label.
    return tv_tensors.Mask(field) if name == "depth" else tv_tensors.Image(field)


def _resize(inpt: Any, size: list[int]) -> Any:
    """An image or mask of this height and width, antialiased where it is an image.

    torchvision takes a mask's upper left pixel of each cell, which moves labels against the image
    by up to half a pixel; `NEAREST_EXACT` takes the middle one.
    """
    if isinstance(inpt, tv_tensors.Mask):
        resized = TF.resize_image(inpt[None], size, InterpolationMode.NEAREST_EXACT)
        return tv_tensors.wrap(resized[0], like=inpt)
    if list(size) == [1, 1]:  # of several channels torch's own fails then
        parts = [TF.resize(one, size, antialias=True) for one in torch.split(inpt, 1)]
        return tv_tensors.wrap(torch.cat(parts), like=inpt)
    return TF.resize(inpt, size, antialias=True)
