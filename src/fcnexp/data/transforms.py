"""Joint augmentation of all fields of an image and its label."""

import torch

from fcnexp.data.sample import Sample


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
        from fcnexp.data import steps  # imports torchvision, and torch's compiler with it: a second

        self.joint = steps.joint(
            size=size, scale=scale, jitter=jitter, window=self.window, mirror=mirror
        )
        self.recolour = steps.recolouring(colour)

    def keeps(self, size: tuple[int, int]) -> bool:
        """Whether an image of this height and width is trained on."""
        if not self.drop_smaller or self.window is None:
            return True
        return size[0] >= self.window[0] and size[1] >= self.window[1]

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Augmented sample; the same seed gives the same result, in any process."""
        if sample.label is None or not (self.joint or self.recolour):
            return sample
        from fcnexp.data import steps

        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)  # a GPU has its own
            return steps.apply(sample, self.joint, self.recolour)


def _sides(name: str, given: int | tuple[int, int] | None, allowed: str) -> tuple[int, int] | None:
    """Height and width of a crop or resize."""
    if given is None:
        return None
    sides = (given, given) if isinstance(given, int | float) else tuple(given)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"{name}={given}: {allowed} in pixels, or a pair [height, width]")
    return sides
