"""Random augmentation, applied alike to all fields of an image and to its labels."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fcnexp import void_of
from fcnexp.data.sample import Sample

Maps = dict[str, Tensor]  # an image's fields by name, its label as _LABEL, others as _LABEL + task
_LABEL = "label "


class Augment:
    """Random changes of each training image and its labels, in the order listed here.

    resize: side, or height and width, in pixels, that every image is resized to (off: null).
    scale: smallest and largest random resize factor (off: 1, 1).
    jitter: largest random shift in pixels, vertically and horizontally (off: 0; sec. 4.3: 32).
    crop: largest side, or height and width, of a random window in pixels (off: null, whole images
        as in the paper).
    mirror: probability of a left-right flip (off: 0).
    colour: strength of brightness, contrast and saturation jitter of `rgb` (off: 0).
    drop_smaller: exclude images whose stored height or width is less than the crop's.
    Raises ValueError on values outside these, and on drop_smaller without a crop.
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
                "drop_smaller=true, but crop=null: drop_smaller needs a crop to compare with; set "
                "augment.crop=[320,480], or augment.drop_smaller=false"
            )
        if type(jitter) is not int or jitter < 0:
            raise ValueError(f"jitter={jitter}: must be a number of pixels, 0 or more, such as 32")
        if not 0 <= mirror <= 1:
            raise ValueError(f"mirror={mirror}: must be a probability in [0, 1], such as 0.5")
        if not 0 < scale[0] <= scale[1] < float("inf"):
            raise ValueError(
                f"scale={scale}: must be smallest and largest factor, such as [0.5, 2]"
            )
        self.drop_smaller = drop_smaller
        self.steps: list[Callable[[Maps], Maps]] = []
        if size is not None:
            self.steps.append(partial(_resize, size))
        if tuple(scale) != (1, 1):
            self.steps.append(partial(_scale, *scale))
        if self.steps:
            import torchvision.transforms.v2  # noqa: F401  # slow: once, before workers fork
        if jitter:
            self.steps.append(partial(_shift, jitter))
        if self.window is not None:
            self.steps.append(partial(_crop, self.window))
        if mirror:
            self.steps.append(partial(_mirror, mirror))
        if colour:
            from torchvision.transforms import v2

            jitter_colour = v2.ColorJitter(brightness=colour, contrast=colour, saturation=colour)
            self.steps.append(partial(_recolour, jitter_colour))

    def keeps(self, size: tuple[int, int]) -> bool:
        """True if an image of this height and width is used for training."""
        if not self.drop_smaller or self.window is None:
            return True
        return size[0] >= self.window[0] and size[1] >= self.window[1]

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Return the augmented sample; the same seed gives the same result in any process."""
        if sample.label is None or not self.steps:
            return sample
        others = {_LABEL + task: label for task, label in sample.further.items()}
        maps = sample.fields | {_LABEL: sample.label} | others
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)  # of the CPU alone
            for step in self.steps:
                maps = step(maps)
        label = maps.pop(_LABEL)
        further = {task: maps.pop(_LABEL + task) for task in sample.further}
        return Sample(sample.name, maps, label, further)


def _sides(name: str, given: int | tuple[int, int] | None, allowed: str) -> tuple[int, int] | None:
    """Return the height and width of a crop or resize."""
    if given is None:
        return None
    sides = (given, given) if isinstance(given, int | float) else tuple(given)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"{name}={given}: must be {allowed} in pixels, or a pair [height, width]")
    return sides


def _resize(size: tuple[int, int], maps: Maps) -> Maps:
    """Resize to (height, width): images bilinearly with antialiasing, labels and depth by pixel.

    NEAREST_EXACT takes the middle pixel of each cell. NEAREST takes the upper left one, which
    shifts labels against the image by up to half a pixel.
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as TF

    resized = {}
    for name, tensor in maps.items():
        is_label = name.startswith(_LABEL)
        planes = tensor[None] if is_label else tensor
        if is_label or name == "depth":  # a mean of two classes or depths would be neither of them
            planes = TF.resize_image(planes, list(size), InterpolationMode.NEAREST_EXACT)
        elif size == (1, 1):  # torch fails on several channels at this size
            parts = [TF.resize_image(one, list(size), antialias=True) for one in planes.split(1)]
            planes = torch.cat(parts)
        else:
            planes = TF.resize_image(planes, list(size), antialias=True)
        resized[name] = planes[0] if is_label else planes
    return resized


def _scale(smallest: float, largest: float, maps: Maps) -> Maps:
    """Resize by a random factor; the smallest result is 1 pixel."""
    factor = smallest + float(torch.rand(())) * (largest - smallest)
    height, width = (max(1, round(side * factor)) for side in maps[_LABEL].shape)
    return _resize((height, width), maps)


def _shift(largest: int, maps: Maps) -> Maps:
    """Shift by a random whole number of pixels on each axis; part of the image always stays.

    Fields are padded with their edge pixels: black would add an edge that real images lack, and
    the mean is unknown here. The class there is unknown too, so labels are padded with void.
    """
    sides = maps[_LABEL].shape
    reaches = [min(largest, side - 1) for side in sides]
    shifts = [int(torch.randint(-reach, reach + 1, ())) for reach in reaches]
    shifted = dict(maps)
    for axis, side, shift in zip((-2, -1), sides, shifts, strict=True):
        source = torch.arange(side) - shift
        nearest = source.clamp(0, side - 1)
        shifted = {name: tensor.index_select(axis, nearest) for name, tensor in shifted.items()}
        outside = (source != nearest).nonzero()[:, 0]
        for name in (name for name in shifted if name.startswith(_LABEL)):
            label = shifted[name]
            shifted[name] = label.index_fill(axis, outside, void_of(label))
    return shifted


def _crop(window: tuple[int, int], maps: Maps) -> Maps:
    """Cut out a random window; an axis shorter than the window is kept whole.

    Unlike torchvision's `RandomCrop` it never pads: the batch is padded once, with void.
    """
    spans = []
    for most, side in zip(window, maps[_LABEL].shape, strict=True):
        length = min(most, side)
        start = int(torch.randint(side - length + 1, ()))
        spans.append(slice(start, start + length))
    return {name: tensor[..., spans[0], spans[1]] for name, tensor in maps.items()}


def _mirror(probability: float, maps: Maps) -> Maps:
    if torch.rand(1) >= probability:
        return maps
    return {name: tensor.flip(-1) for name, tensor in maps.items()}


def _recolour(jitter: Callable[[Tensor], Tensor], maps: Maps) -> Maps:
    """Jitter the colours of `rgb` alone."""
    return maps | {"rgb": jitter(maps["rgb"])} if "rgb" in maps else maps
