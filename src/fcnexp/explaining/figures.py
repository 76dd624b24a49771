"""Figures that explain a net on an image; `explain figure=...` draws one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from fcnexp import VOID, label_type
from fcnexp.data.files import check_label, read_label_png
from fcnexp.data.lists import read_lines
from fcnexp.data.masks import read_mask
from fcnexp.data.palette import ClassesFile
from fcnexp.errors import ConfigError, DataError
from fcnexp.explaining import drawings
from fcnexp.nn.inspection.class_map import LEAST, class_map, load_classifier, whole_image
from fcnexp.nn.inspection.fusion_stages import fusion_stages
from fcnexp.nn.inspection.receptive_field import FRACTION, ReceptiveField, receptive_fields
from fcnexp.nn.streams import Network

if TYPE_CHECKING:  # Lightning
    from fcnexp.task.module import SegmentationTask

CLASSES = 1000  # of ImageNet
TRAINED_SIDE = 256  # pixels: shorter side of the classifier's training images


@dataclass(frozen=True)
class ReceptiveFields:
    """Receptive fields of the cells nearest to a pixel. at: row and column; None: the centre."""

    at: list[int] | None
    name: ClassVar[str] = "receptive_field"

    def draw(
        self, path: Path, rgb: Tensor, net: Network, inputs: dict[str, Tensor], *, measured: bool
    ) -> list[str]:
        """Write the figure; return lines to print. Raises ConfigError if `at` is not a pixel.

        rgb: uint8 (3, H, W). inputs: the image in network space, by field; on the meta device if
        not measured.
        """
        height, width = rgb.shape[1:]
        at = self.at or [height // 2, width // 2]
        if len(at) != 2 or not (0 <= at[0] < height and 0 <= at[1] < width):
            raise ConfigError(
                f"figure.at={at}: must be the row and column of a pixel; the image has {height} "
                f"rows and {width} columns"
            )
        fields = receptive_fields(net, inputs, (at[0], at[1]), measured=measured)
        drawings.draw_receptive_fields(path, rgb.permute(1, 2, 0).numpy(), fields, FRACTION)
        return [self._line(each) for each in fields]

    def _line(self, field: ReceptiveField) -> str:
        (row, column), side = field.centre, field.effective_side
        effective = f"; {FRACTION:.0%} of its gradient in {side} x {side}" if side else ""
        return (
            f"{field.name}, stride {field.step:g}: the cell at row {row:g}, column {column:g} has "
            f"a receptive field of {field.side:g} x {field.side:g}{effective}"
        )


@dataclass(frozen=True)
class ClassMaps:
    """Maps of an ImageNet classifier's most probable classes of the entire image.

    weights: the `.caffemodel` of GoogLeNet, AlexNet or VGG16. labels: file with a synset id and
    class names on each line; None for torchvision's names. classes: number of maps. shorter_side:
    pixels to which the image is scaled; None for the original size.
    """

    weights: str
    labels: str | None
    classes: int
    shorter_side: int | None
    name: ClassVar[str] = "class_maps"

    @torch.inference_mode()
    def draw(self, path: Path, rgb: Tensor) -> list[str]:
        """Write the figure; return lines to print. Raises UserError. rgb: uint8 (3, H, W)."""
        if not 1 <= self.classes <= 5:
            raise ConfigError(f"figure.classes={self.classes}: number of maps, must be 1 to 5")
        names = class_names(self.labels)
        self._refuse_small(rgb, LEAST)
        photo = rgb if self.shorter_side is None else scaled(rgb, self.shorter_side)
        net = load_classifier(Path(self.weights).expanduser())
        self._refuse_small(rgb, net.side)
        found = class_map(net, photo)
        whole = whole_image(net, scaled(rgb, TRAINED_SIDE)).topk(5)
        shown = [(names[i], p) for p, i in zip(*(v.tolist() for v in whole), strict=True)]
        # Not the highest values anywhere on the map: a close-up of fur looks like a skunk.
        indices = whole.indices[: self.classes].tolist()
        maps = found.of_pixels(indices, (photo.shape[1], photo.shape[2]))
        peaks = found.probabilities[indices].amax((1, 2)).tolist()
        titles = [f"{names[i]}, up to {p:.2f}" for i, p in zip(indices, peaks, strict=True)]
        height, width = found.probabilities.shape[1:]
        cells = f"{height} x {width} cells, {found.grid.step:g} pixels apart"
        shown_rgb = photo.permute(1, 2, 0).numpy()
        drawings.draw_class_maps(path, shown_rgb, maps.numpy(), titles, found.box(), cells)
        return [
            "entire image: " + ", ".join(f"{name} {p:.2f}" for name, p in shown),
            f"map of {cells}: {'; '.join(titles)}",
        ]

    def _refuse_small(self, rgb: Tensor, least: int) -> None:
        """Raise ConfigError if the image is smaller than the classifier's input, `least` pixels."""
        if self.shorter_side is not None and self.shorter_side < least:
            raise ConfigError(
                f"figure.shorter_side={self.shorter_side}: must be {least} or more, the size of "
                "the classifier's input in pixels"
            )
        if self.shorter_side is None and min(rgb.shape[1:]) < least:
            raise ConfigError(
                f"the image has {rgb.shape[1]}x{rgb.shape[2]} pixels, but the classifier needs "
                f"{least}x{least}; try figure.shorter_side=384"
            )


@dataclass(frozen=True)
class FusionStages:
    """Predictions of a net with skips before and after each fusion, of its first task.

    truth: label map, or None.
    """

    truth: str | None
    name: ClassVar[str] = "fusion"

    @torch.inference_mode()
    def draw(self, path: Path, rgb: Tensor, task: "SegmentationTask") -> list[str]:
        """Write the figure; return lines to print. Raises UserError. rgb: uint8 (3, H, W)."""
        first = task.tasks[0]
        truth = self._truth(rgb, len(first.classes))
        inputs = task.recipe.apply({"rgb": rgb[None]}, torch.tensor([rgb.shape[1:]]))
        try:
            found = fusion_stages(task.net, inputs)  # type: ignore[arg-type]  # a Network
        except ValueError as error:
            raise ConfigError(
                f"figure=fusion: {error}; give the checkpoint of a net with skips, such as "
                "model=fcn16s or model=fcn8s"
            ) from None
        kind = getattr(torch, label_type(len(first.classes)))
        labels = [first.of_scores(stage.scores).argmax(1)[0].to(kind) for stage in found]
        names = [f"{stage.name}, stride {stage.step}" for stage in found]
        drawings.draw_stages(
            path,
            rgb.permute(1, 2, 0).numpy(),
            None if truth is None else truth.numpy(),
            [(name, label.numpy()) for name, label in zip(names, labels, strict=True)],
            first.classes,
        )
        return [self._line(*each, truth, first.classes) for each in zip(names, labels, strict=True)]

    def _truth(self, rgb: Tensor, num_classes: int) -> Tensor | None:
        if self.truth is None:
            return None
        path = Path(self.truth).expanduser()
        if num_classes <= VOID:
            label = read_label_png(path)
        else:  # in 16 bits
            label = read_mask(path, ClassesFile(tuple(map(str, range(num_classes))), {}))
        if label.shape != rgb.shape[1:]:
            raise DataError(
                f"figure.truth={path}: has {label.shape[0]}x{label.shape[1]} pixels, but the image "
                f"has {rgb.shape[1]}x{rgb.shape[2]}; give the label map of this image"
            )
        return check_label(label, path, num_classes)

    def _line(
        self, name: str, label: Tensor, truth: Tensor | None, class_names: Sequence[str]
    ) -> str:
        """One stage's scores on this image, or without ground truth its classes' fractions."""
        if truth is None:
            fractions = label.flatten().bincount(minlength=len(class_names)) / label.numel()
            classes = zip(class_names, fractions, strict=True)
            return f"{name}: {', '.join(f'{n} {f:.1%}' for n, f in classes if f)}"
        from fcnexp.task.scores import SegmentationScores

        counts = SegmentationScores(len(class_names))
        counts.update(label[None], truth[None])
        scores = counts.compute()
        return f"{name}: mean IU {scores['miou']:.1%}, pixel accuracy {scores['pixel_acc']:.1%}"


def scaled(rgb: Tensor, shorter_side: int) -> Tensor:
    """Scale an image, uint8 (3, H, W), to a shorter side in pixels."""
    from torchvision.transforms.v2 import functional as TF  # takes a second to import

    scale = shorter_side / min(rgb.shape[1:])
    return TF.resize(rgb, [round(side * scale) for side in rgb.shape[1:]], antialias=True)


def class_names(path: str | None) -> Sequence[str]:
    """First name of each ImageNet class. Raises DataError if the file has other classes."""
    if path is None:
        from torchvision.models import GoogLeNet_Weights

        return GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"]
    lines = read_lines(Path(path).expanduser())
    if len(lines) != CLASSES:
        raise DataError(
            f"{path}: {len(lines)} lines, but ImageNet has {CLASSES} classes; give "
            "synset_words.txt, or leave figure.labels out"
        )
    return [line.partition(" ")[2].partition(",")[0] for line in lines]
