"""Joint augmentation of all fields of an image and its label."""

from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as TF

from fcnexp.data.sample import Sample
from fcnexp.labels import VOID


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


class Augment:
    """What is done to each training image and its label; every number at its neutral is nothing.

    resize: side, or height and width, in pixels, to which all is brought first (neutral null).
    mirror: probability of a left-right flip (neutral 0).
    scale: smallest and largest resize factor (neutral 1, 1).
    jitter: largest shift in pixels, up or down and left or right (neutral 0; 32 in sec. 4.3).
    crop: largest side of a random window, or its largest height and width, in pixels (neutral null,
        whole images as in the paper).
    drop_smaller: leave out images whose height or width, as stored, is less than the crop's.
    colour: strength of brightness, contrast and saturation jitter of `rgb` (neutral 0).
    Raises ValueError on a resize, jitter or crop of other form, and on drop_smaller without a crop.
    """

    def __init__(
        self,
        *,
        resize: int | tuple[int, int] | None,
        mirror: float,
        scale: tuple[float, float],
        crop: int | tuple[int, int] | None,
        drop_smaller: bool,
        colour: float,
        jitter: int,
    ) -> None:
        self.window = _sides("crop", crop, "null, a largest side")
        size = _sides("resize", resize, "null, a side")
        if drop_smaller and self.window is None:
            raise ValueError(
                "drop_smaller=true, but crop=null: smaller than what? give a crop, such as "
                "augment.crop=[320,480], or augment.drop_smaller=false"
            )
        if type(jitter) is not int or jitter < 0:
            raise ValueError(f"jitter={jitter}: a number of pixels, 0 or more, such as 32")
        self.drop_smaller = drop_smaller
        steps: list[v2.Transform] = []
        if size is not None:
            steps.append(ResizeTo(*size))
        if tuple(scale) != (1, 1):
            steps.append(ScaleBy(*scale))
        if jitter:
            steps.append(ShiftBy(jitter))
        if self.window is not None:
            steps.append(CropAtMost(*self.window))
        if mirror:
            steps.append(v2.RandomHorizontalFlip(mirror))
        self.steps = v2.Compose(steps) if steps else None
        strength = {"brightness": colour, "contrast": colour, "saturation": colour}
        self.recolour = v2.ColorJitter(**strength) if colour else None

    def keeps(self, size: tuple[int, int]) -> bool:
        """Whether an image of this height and width is trained on."""
        if not self.drop_smaller or self.window is None:
            return True
        return size[0] >= self.window[0] and size[1] >= self.window[1]

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Augmented sample; the same seed gives the same result, in any process."""
        if sample.label is None or not (self.steps or self.recolour):
            return sample
        joint = {name: _typed(name, field) for name, field in sample.fields.items()}
        label = tv_tensors.Mask(sample.label)
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)  # a GPU has its own
            if self.steps:
                joint, label = self.steps(joint, label)
            if self.recolour and "rgb" in joint:
                joint["rgb"] = self.recolour(joint["rgb"])
        fields = {name: field.as_subclass(torch.Tensor) for name, field in joint.items()}
        return Sample(sample.name, fields, label.as_subclass(torch.Tensor))


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
    return TF.resize(inpt, size, antialias=True)


def _sides(name: str, given: int | tuple[int, int] | None, allowed: str) -> tuple[int, int] | None:
    """Height and width of a crop or resize."""
    if given is None:
        return None
    sides = (given, given) if isinstance(given, int | float) else tuple(given)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"{name}={given}: {allowed} in pixels, or a pair [height, width]")
    return sides
