"""Images of any format and their masks, read as samples."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fcnexp.data.bands import read_bands
from fcnexp.data.files import check_sizes, opened, read_rgb, read_size
from fcnexp.data.masks import read_mask
from fcnexp.data.orientation import drawn_upright, orientation_of
from fcnexp.data.palette import ClassesFile
from fcnexp.data.sample import Sample, Samples
from fcnexp.system.bands_file import BandsFile


class Pairs(Samples):
    """Images of any format and their masks, joined by the name without extension.

    images, masks: files by name; images sets the selection and the order. upright: whether masks
    were drawn on images turned as their EXIF notes say, if sizes cannot tell; None: not known. own:
    whether they are the user's own files, which may have any size. bands: how to read bands, if
    they are read, instead of colour.
    """

    def __init__(
        self,
        images: dict[str, Path],
        masks: dict[str, Path],
        classes: ClassesFile,
        lists: Sequence[Path] = (),
        *,
        upright: bool | None = None,
        own: bool = False,
        bands: BandsFile | None = None,
    ) -> None:
        self.ids, self.images, self.masks, self.classes = list(images), images, masks, classes
        self.lists, self.upright, self.own, self.bands = lists, upright, own, bands
        self.shown = None if bands is None else bands.rgb

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices
        """Read one image and its mask. Raises DataError naming the invalid file."""
        name = self.ids[index]
        image, mask = self.images[name], self.masks[name]
        label = self.read_label(index)
        if (of := self.bands) is not None:
            bands = read_bands(image, count=of.count, axes=of.axes, nodata=of.nodata)
            check_sizes({image: bands.shape[-2:], mask: label.shape})
            return Sample(name, {"bands": bands}, label)
        drawn = (label.shape[0], label.shape[1])
        turn = partial(drawn_upright, path=image, drawn=drawn, told=self.upright)
        rgb = read_rgb(image, upright=turn, own=self.own)
        check_sizes({image: rgb.shape[-2:], mask: label.shape})
        return Sample(name, {"rgb": rgb}, label)

    def paths(self, index: int) -> list[Path]:
        """Image and mask of one sample."""
        name = self.ids[index]
        return [self.images[name], self.masks[name]]

    def read_label(self, index: int) -> Tensor:
        """Read one mask without its image. Raises DataError naming the invalid file."""
        path = self.masks[self.ids[index]]
        return torch.from_numpy(read_mask(path, self.classes, own=self.own))

    def note(self, index: int, drawn: tuple[int, int]) -> tuple[int, bool]:
        """EXIF orientation of one image, and whether it is applied; drawn: size of its mask."""
        if self.bands is not None:
            return 1, False
        path = self.images[self.ids[index]]
        with opened(path, own=self.own) as image:
            return orientation_of(image), drawn_upright(image, path, drawn, self.upright)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of one sample, from the header of its mask, as images may be turned."""
        return read_size(self.masks[self.ids[index]], own=self.own)
