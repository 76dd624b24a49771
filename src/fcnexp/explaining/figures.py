"""Pictures that explain a net on a photograph; `explain figure=...` draws one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from fcnexp.data.files import check_label, read_label_png, read_lines
from fcnexp.errors import ConfigError, DataError
from fcnexp.explaining import drawings
from fcnexp.nn.inspection.class_map import LEAST, class_map, load_classifier, whole_image
from fcnexp.nn.inspection.fusion_stages import stages
from fcnexp.nn.inspection.receptive_field import SHARE, sights
from fcnexp.nn.streams import Network

if TYPE_CHECKING:  # Lightning
    from fcnexp.task.module import SegmentationTask

CLASSES = 1000  # of ImageNet
TRAINED_SIDE = 256  # pixels of the shorter side, at which the classifier was trained


@dataclass(frozen=True)
class ReceptiveFields:
    """What the cells nearest to one pixel see. at: row and column; None for the middle."""

    at: list[int] | None
    name: ClassVar[str] = "receptive_field"

    def draw(
        self, path: Path, rgb: Tensor, net: Network, inputs: dict[str, Tensor], *, measured: bool
    ) -> list[str]:
        """Write the picture; returns lines to print. Raises ConfigError.

        rgb: uint8 (3, H, W). inputs: the same in network space, by field; on the meta device where
        nothing is measured.
        """
        height, width = rgb.shape[1:]
        at = self.at or [height // 2, width // 2]
        if len(at) != 2 or not (0 <= at[0] < height and 0 <= at[1] < width):
            raise ConfigError(
                f"figure.at={at}: row and column of a pixel; the photograph has {height} rows and "
                f"{width} columns"
            )
        seen = sights(net, inputs, (at[0], at[1]), measured=measured)
        drawings.draw_sights(path, rgb.permute(1, 2, 0).numpy(), seen, SHARE)
        return [
            f"{each.name}: a cell at row {each.centre[0]:g}, column {each.centre[1]:g}, every "
            f"{each.step:g} pixels, sees {each.side:g} x {each.side:g}"
            + (f"; {SHARE:.0%} of its gradient in {each.reach} x {each.reach}" if measured else "")
            for each in seen
        ]


@dataclass(frozen=True)
class ClassMaps:
    """Where an ImageNet GoogLeNet sees the classes that it finds likeliest on the whole photograph.

    weights: its `.caffemodel`. labels: file of class names, a line each behind the synset's id;
    None for torchvision's. classes: maps drawn. shorter_side: to which the photograph is scaled,
    pixels; None as it is.
    """

    weights: str
    labels: str | None
    classes: int
    shorter_side: int | None
    name: ClassVar[str] = "class_maps"

    @torch.inference_mode()
    def draw(self, path: Path, rgb: Tensor) -> list[str]:
        """Write the picture; returns lines to print. Raises UserError. rgb: uint8 (3, H, W)."""
        if not 1 <= self.classes <= 5:
            raise ConfigError(f"figure.classes={self.classes}: maps of the likeliest, 1 to 5")
        if self.shorter_side is not None and self.shorter_side < LEAST:
            raise ConfigError(
                f"figure.shorter_side={self.shorter_side}: pixels, {LEAST} or more, since that is "
                "what the classifier looks at"
            )
        names = class_names(self.labels)
        photo = rgb if self.shorter_side is None else scaled(rgb, self.shorter_side)
        if min(photo.shape[1:]) < LEAST:
            raise ConfigError(
                f"a photograph of {photo.shape[1]}x{photo.shape[2]} pixels: the classifier looks "
                f"at {LEAST}x{LEAST}; say figure.shorter_side=384"
            )
        net = load_classifier(Path(self.weights).expanduser())
        found = class_map(net, photo)
        whole = whole_image(net, scaled(rgb, TRAINED_SIDE)).topk(5)
        shown = [(names[i], p) for p, i in zip(*(v.tolist() for v in whole), strict=True)]
        # Not what is highest anywhere on the map: close up, fur alone is a skunk's.
        indices = whole.indices[: self.classes].tolist()
        maps = found.of_pixels(indices, (photo.shape[1], photo.shape[2]))
        peaks = found.probabilities[indices].amax((1, 2)).tolist()
        titles = [f"{names[i]}, up to {p:.2f}" for i, p in zip(indices, peaks, strict=True)]
        height, width = found.probabilities.shape[1:]
        cells = f"{height} x {width} cells, {found.grid.step:g} pixels apart"
        box = found.box()
        picture = photo.permute(1, 2, 0).numpy()
        drawings.draw_class_maps(path, picture, maps.numpy(), titles, box, cells)
        return [
            "whole photograph: " + ", ".join(f"{name} {p:.2f}" for name, p in shown),
            f"map of {cells}: {'; '.join(titles)}",
        ]


@dataclass(frozen=True)
class FusionStages:
    """What a net with skips says before and after each fusion. truth: a label map, or None."""

    truth: str | None
    name: ClassVar[str] = "fusion"

    @torch.inference_mode()
    def draw(self, path: Path, rgb: Tensor, task: "SegmentationTask") -> list[str]:
        """Write the picture; returns lines to print. Raises UserError. rgb: uint8 (3, H, W)."""
        truth = self._truth(rgb, len(task.class_names))
        inputs = task.recipe.apply({"rgb": rgb[None]}, torch.tensor([rgb.shape[1:]]))
        try:
            found = stages(task.net, inputs)  # type: ignore[arg-type]  # a Network
        except ValueError as error:
            raise ConfigError(
                f"figure=fusion: {error}; give the checkpoint of a net such as model=fcn16s or "
                "model=fcn8s"
            ) from None
        labels = [stage.scores.argmax(1)[0].to(torch.uint8) for stage in found]
        names = [f"{stage.name}, stride {stage.step}" for stage in found]
        drawings.draw_stages(
            path,
            rgb.permute(1, 2, 0).numpy(),
            None if truth is None else truth.numpy(),
            [(name, label.numpy()) for name, label in zip(names, labels, strict=True)],
            task.class_names,
        )
        return [self._line(*each, truth, task) for each in zip(names, labels, strict=True)]

    def _truth(self, rgb: Tensor, num_classes: int) -> Tensor | None:
        if self.truth is None:
            return None
        path = Path(self.truth).expanduser()
        label = read_label_png(path)
        if label.shape != rgb.shape[1:]:
            raise DataError(
                f"figure.truth={path}: {label.shape[0]}x{label.shape[1]} pixels, the photograph "
                f"has {rgb.shape[1]}x{rgb.shape[2]}; give the label map of this photograph"
            )
        return check_label(label, path, num_classes)

    def _line(
        self, name: str, label: Tensor, truth: Tensor | None, task: "SegmentationTask"
    ) -> str:
        """What is said of one stage: its scores on this image, if there is a truth."""
        if truth is None:
            shares = label.flatten().bincount(minlength=len(task.class_names)) / label.numel()
            seen = [f"{n} {s:.1%}" for n, s in zip(task.class_names, shares, strict=True) if s]
            return f"{name}: {', '.join(seen)}"
        from fcnexp.task.scores import SegmentationScores

        counts = SegmentationScores(len(task.class_names))
        counts.update(label[None], truth[None])
        scores = counts.compute()
        return f"{name}: mean IU {scores['miou']:.1%}, pixel accuracy {scores['pixel_acc']:.1%}"


def scaled(rgb: Tensor, shorter_side: int) -> Tensor:
    """A photograph, uint8 (3, H, W), of which the shorter side has so many pixels."""
    from torchvision.transforms.v2 import functional as TF  # a second

    scale = shorter_side / min(rgb.shape[1:])
    return TF.resize(rgb, [round(side * scale) for side in rgb.shape[1:]], antialias=True)


def class_names(path: str | None) -> Sequence[str]:
    """The first name of each ImageNet class. Raises DataError where the file is of others."""
    if path is None:
        from torchvision.models import GoogLeNet_Weights

        return GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"]
    lines = read_lines(Path(path).expanduser())
    if len(lines) != CLASSES:
        raise DataError(
            f"{path}: {len(lines)} lines; ImageNet has {CLASSES} classes: give synset_words.txt, "
            "or leave figure.labels out"
        )
    return [line.partition(" ")[2].partition(",")[0] for line in lines]
