"""Validation images logged at each scoring, with ground truth, prediction and error masks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from PIL import Image

from fcnexp import VOID, void_of
from fcnexp.reporting.pictures import as_picture, captions_of, colour

KEY = "val/predictions"
RIGHT, WRONG = 0, 1  # values of the error mask


class Panel(NamedTuple):
    """One image. rgb: uint8 (H, W, 3); truth (the label), prediction: (H, W)."""

    name: str
    rgb: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


class Panels(Callback):
    """Collects a few images of each validation pass, as they were scored, and passes them on.

    count: number of images, spread evenly over the validation set (with several processes, over
    the first one's part). side: longest side in pixels. show: called with the panels, the class
    names, and the step.
    """

    def __init__(
        self, count: int, side: int, show: Callable[[Sequence[Panel], Sequence[str], int], None]
    ) -> None:
        self.count, self.side, self.show = count, side, show
        self.chosen: set[int] = set()
        self.panels: list[Panel] = []

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Choose the images to collect."""
        total = len(trainer.datamodule.val)  # type: ignore[attr-defined]  # set at run time
        images = -(-total // trainer.world_size)
        last = max(1, self.count - 1)
        self.chosen = {round(i * (images - 1) / last) for i in range(self.count)}
        self.panels = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the image if it is a chosen one; validation batches hold one image."""
        if batch_idx in self.chosen:
            fields = {name: field[0].cpu() for name, field in batch.fields.items()}
            truth = batch.label[0].cpu().numpy()
            prediction = outputs[0].cpu().numpy()
            panel = Panel(batch.names[0], as_picture(fields), truth, prediction)
            self.panels.append(shrunk(panel, self.side))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pass the collected panels on."""
        names: Any = pl_module.class_names
        if self.panels:
            self.show(of_one_size(self.panels), names, trainer.global_step)
        self.panels = []


def shrunk(panel: Panel, side: int) -> Panel:
    """Scale a panel down to at most `side` pixels per side; labels by nearest neighbour."""
    height, width = panel.truth.shape
    factor = side / max(height, width)
    if factor >= 1:
        return panel
    size = (max(1, round(factor * width)), max(1, round(factor * height)))
    rgb = Image.fromarray(panel.rgb).resize(size, Image.Resampling.LANCZOS)
    labels = (panel.truth, panel.prediction)
    small = (Image.fromarray(label).resize(size, Image.Resampling.NEAREST) for label in labels)
    kinds = (label.dtype for label in labels)  # Pillow makes int32 of int16
    truth, prediction = (np.asarray(m).astype(k) for m, k in zip(small, kinds, strict=True))
    return Panel(panel.name, np.asarray(rgb), truth, prediction)


def of_one_size(panels: Sequence[Panel]) -> list[Panel]:
    """Pad the panels to a common size with white and void, below and to the right.

    W&B displays a list of images of different sizes incorrectly.
    """
    height, width = (max(side) for side in zip(*(p.truth.shape for p in panels), strict=True))
    padded = []
    for name, rgb, truth, prediction in panels:
        room = ((0, height - truth.shape[0]), (0, width - truth.shape[1]))
        labels = (np.pad(x, room, constant_values=void_of(x)) for x in (truth, prediction))
        padded.append(Panel(name, np.pad(rgb, (*room, (0, 0)), constant_values=255), *labels))
    return padded


def errors(panel: Panel) -> np.ndarray:
    """Error mask, uint8 (H, W): RIGHT, WRONG or VOID."""
    wrong = np.where(panel.prediction == panel.truth, RIGHT, WRONG)
    return np.where(panel.truth == void_of(panel.truth), VOID, wrong).astype(np.uint8)


def wandb_image(panel: Panel, class_names: Sequence[str]) -> Any:
    """The panel as a wandb.Image with the masks `prediction`, `truth` and `wrong`.

    W&B's masks have 8 bits: of more than 255 classes, truth and prediction are pictures beside it.
    """
    import wandb

    outcomes = {RIGHT: "right", WRONG: "wrong", VOID: "void"}
    if len(class_names) > VOID:
        pictures = (panel.rgb, colour(panel.truth), colour(panel.prediction))
        caption = f"{panel.name}: image, ground truth, prediction"
        return wandb.Image(np.concatenate(pictures, 1), caption=caption)
    classes = captions_of(class_names)
    masks = {
        "prediction": {"mask_data": panel.prediction, "class_labels": classes},
        "truth": {"mask_data": panel.truth, "class_labels": classes},
        "wrong": {"mask_data": errors(panel), "class_labels": outcomes},
    }
    return wandb.Image(panel.rgb, masks=masks, caption=panel.name)
