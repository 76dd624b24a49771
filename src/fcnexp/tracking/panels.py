"""Validation images logged at each scoring, with ground truth, prediction and error masks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from PIL import Image

from fcnexp import VOID, void_of
from fcnexp.reporting.pictures import as_picture, captions_of, colour
from fcnexp.scoring.tasks import Task

KEY = "val/predictions"
RIGHT, WRONG = 0, 1  # values of the error mask


class Panel(NamedTuple):
    """One image. rgb: uint8 (H, W, 3); truth (the label), prediction: (H, W).

    further: the same two of each task but the first.
    """

    name: str
    rgb: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    further: Sequence[tuple[np.ndarray, np.ndarray]] = ()

    @property
    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Truth and prediction of each task."""
        return [(self.truth, self.prediction), *self.further]

    def with_labels(self, change: Callable[[np.ndarray], np.ndarray], rgb: np.ndarray) -> "Panel":
        """The panel with another picture, and each label map changed."""
        first, *further = [(change(truth), change(guess)) for truth, guess in self.pairs]
        return Panel(self.name, rgb, *first, further)


class Panels(Callback):
    """Collects a few images of each validation pass, as they were scored, and passes them on.

    count: number of images, spread evenly over the validation set (with several processes, over
    the first one's part). side: longest side in pixels. show: called with the panels, the
    module that scored, and the step.
    """

    def __init__(
        self, count: int, side: int, show: Callable[[Sequence[Panel], Any, int], None]
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
            counts: Any = pl_module and pl_module.counts
            further = [
                (batch.further[each.task.name][0].cpu().numpy(), each.latest[0].cpu().numpy())
                for each in list(counts or ())[1:]
            ]
            recipe = getattr(pl_module, "recipe", None)
            shown = recipe.bands.rgb if recipe is not None and recipe.bands else None
            panel = Panel(batch.names[0], as_picture(fields, shown), truth, prediction, further)
            self.panels.append(shrunk(panel, self.side))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Pass the collected panels on."""
        if self.panels:
            self.show(of_one_size(self.panels), pl_module, trainer.global_step)
        self.panels = []


def shrunk(panel: Panel, side: int) -> Panel:
    """Scale a panel down to at most `side` pixels per side; labels by nearest neighbour."""
    height, width = panel.truth.shape
    factor = side / max(height, width)
    if factor >= 1:
        return panel
    size = (max(1, round(factor * width)), max(1, round(factor * height)))
    rgb = Image.fromarray(panel.rgb).resize(size, Image.Resampling.LANCZOS)

    def smaller(label: np.ndarray) -> np.ndarray:
        small = Image.fromarray(label).resize(size, Image.Resampling.NEAREST)
        return np.asarray(small).astype(label.dtype)  # Pillow makes int32 of int16

    return panel.with_labels(smaller, np.asarray(rgb))


def of_one_size(panels: Sequence[Panel]) -> list[Panel]:
    """Pad the panels to a common size with white and void, below and to the right.

    W&B displays a list of images of different sizes incorrectly.
    """
    height, width = (max(side) for side in zip(*(p.truth.shape for p in panels), strict=True))
    padded = []
    for panel in panels:
        room = ((0, height - panel.truth.shape[0]), (0, width - panel.truth.shape[1]))

        def larger(label: np.ndarray, room: Any = room) -> np.ndarray:
            return np.pad(label, room, constant_values=void_of(label))

        rgb = np.pad(panel.rgb, (*room, (0, 0)), constant_values=255)
        padded.append(panel.with_labels(larger, rgb))
    return padded


def errors(panel: Panel, number: int = 0) -> np.ndarray:
    """Error mask of one task, uint8 (H, W): RIGHT, WRONG or VOID."""
    truth, prediction = panel.pairs[number]
    wrong = np.where(prediction == truth, RIGHT, WRONG)
    return np.where(truth == void_of(truth), VOID, wrong).astype(np.uint8)


def wandb_image(panel: Panel, tasks: Sequence[Task]) -> Any:
    """The panel as a wandb.Image with the masks `prediction`, `truth` and `wrong` of each task.

    W&B's masks have 8 bits: of more than 255 classes, truth and prediction are pictures beside it.
    """
    import wandb

    outcomes = {RIGHT: "right", WRONG: "wrong", VOID: "void"}
    if any(len(task.classes) > VOID for task in tasks):
        maps = [colour(label) for pair in panel.pairs for label in pair]
        caption = f"{panel.name}: image, ground truth, prediction"
        return wandb.Image(np.concatenate([panel.rgb, *maps], 1), caption=caption)
    masks: dict[str, Any] = {}
    for number, (task, (truth, prediction)) in enumerate(zip(tasks, panel.pairs, strict=True)):
        classes = captions_of(task.classes)
        found = errors(panel, number)
        masks |= {
            task.key("prediction"): {"mask_data": prediction, "class_labels": classes},
            task.key("truth"): {"mask_data": truth, "class_labels": classes},
            task.key("wrong"): {"mask_data": found, "class_labels": outcomes},
        }
    return wandb.Image(panel.rgb, masks=masks, caption=panel.name)
