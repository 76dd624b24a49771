"""LightningModule that trains any net with any regime and computes the paper's four scores."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fcnexp.errors import ConfigError
from fcnexp.scoring.per_image import PerImage
from fcnexp.scoring.tasks import tasks_of
from fcnexp.task.counting import Counts, best_class
from fcnexp.task.losses import PixelLoss
from fcnexp.task.maps import check_shape
from fcnexp.task.masking import mask
from fcnexp.task.monitors import FiniteLoss, Stopwatch
from fcnexp.task.protocols import InputRecipe, PaddedBatch
from fcnexp.task.recording import Recorder
from fcnexp.task.scores import SegmentationScores
from fcnexp.task.trimap import TrimapScores


class SegmentationTask(L.LightningModule):
    """Trains a net to label every pixel, and scores it; for each of its tasks, if it has several.

    net: maps inputs by field, in network space, to scores (N, K, H, W); `score_each` those of a
        batch of different sizes, and `side_scores` those of auxiliary heads, with the weights of
        their losses, as `nn.streams.Network` has them.
    recipe: converts the batch's bytes to network space; stored in every checkpoint.
    class_names: of all tasks, in the order of the scores. outputs: number of classes by task; None
        for a single task. loss: of each task, or one for all; their sum is minimised.
    groups: the optimiser's parameter groups. optimizer: makes an optimiser of them.
    schedule: makes, of optimiser and number of steps, a scheduler that is stepped at every step.
    facts: plain values stored in checkpoints, enough to rebuild the net.
    seed: determines, with the pass, the draws of dropout and loss; see `on_train_batch_start`.
    passes_per_step: of this process. passes_whole: True if processes run separate passes, not one.
    masking: side of the image to mask by its label, see `task.masking.mask`, or None, in `train`
        and in `test`; None for neither.
    """

    def __init__(
        self,
        net: nn.Module,
        recipe: InputRecipe,
        class_names: tuple[str, ...],
        *,
        outputs: Mapping[str, int] | None = None,
        loss: nn.Module | Sequence[nn.Module] | None = None,
        groups: list[dict[str, object]] | None = None,
        optimizer: Callable[..., Optimizer] | None = None,
        schedule: Callable[..., Any] | None = None,
        facts: dict[str, Any] | None = None,
        seed: int = 0,
        passes_per_step: int = 1,
        passes_whole: bool = True,
        masking: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__()
        self.net, self.recipe, self.class_names = net, recipe, class_names
        self.tasks = tasks_of(class_names, outputs)
        losses = loss if isinstance(loss, Sequence) else [loss] * len(self.tasks)
        self.loss, self.groups = losses[0], groups
        self.further_losses = nn.ModuleList(each for each in losses[1:] if each is not None)
        self.optimizer_factory, self.schedule_factory = optimizer, schedule
        self.facts = facts or {}
        self.seed, self.passes_per_step, self.passes_whole = seed, passes_per_step, passes_whole
        self.masking = masking or {"train": None, "test": None}
        self.counts: Sequence[Counts] = nn.ModuleList(map(Counts, self.tasks))  # type: ignore[assignment]
        self.finite, self.stopwatch = FiniteLoss(), Stopwatch()
        self.trimap: TrimapScores | None = None  # if set, counts the first task's bands, too
        self.bands: Tensor | None = None  # the trimap's matrices, last scoring, all processes
        self.keep = frozenset[str]()  # names of images whose predictions the next scoring keeps
        self.nondeterministic: list[str] = []  # nondeterministic operations found, if monitored
        self.worst = 0  # number of images with the lowest mean IU whose predictions are kept
        self.scored_step = -1  # step after which the whole validation set was last scored

    @property
    def scores(self) -> SegmentationScores:
        """The first task's; so are the following."""
        return self.counts[0].scores

    @property
    def matrix(self) -> Tensor:
        """Confusion matrix of the last scoring."""
        return self.counts[0].matrix

    @property
    def per_image(self) -> PerImage | None:
        """Counts of each image of the last scoring, if they were recorded."""
        return self.counts[0].per_image

    @property
    def kept(self) -> dict[str, Tensor]:
        """Predictions kept by the last scoring, by name."""
        return self.counts[0].kept

    def forward(
        self,
        fields: dict[str, Tensor],
        sizes: Tensor,
        *,
        label: Tensor | None = None,
        side: str | None = None,
    ) -> Tensor:
        """Return scores (N, K, H, W) of a padded batch's fields as stored, (N, C, H, W) by name.

        side: side to mask by the label (N, H, W); None for nothing.
        Each image gets its own scores and gradients, as `Network.score_each` says. Raises
        ValueError if the net's scores have another shape.
        """
        inputs = self.recipe.apply(fields, sizes)
        if side is not None:
            assert label is not None
            inputs = mask(inputs, label, side, lambda: self._white(fields, sizes))
        own = [(height, width) for height, width in sizes.tolist()]
        apart = len(set(own)) > 1
        scores = self.net.score_each(inputs, own) if apart else self.net(inputs)  # type: ignore[operator]
        extent = next(iter(fields.values())).shape[-2:]
        check_shape("net's scores", scores, (len(own), len(self.class_names), *extent), "data")
        return scores

    def _white(self, fields: dict[str, Tensor], sizes: Tensor) -> dict[str, Tensor]:
        """Network input of the stored value 255 everywhere: white, or a depth of 0.255 m."""
        white = {name: torch.full_like(stored, 255) for name, stored in fields.items()}
        return self.recipe.apply(white, sizes)

    def training_step(self, batch: PaddedBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        side, images = self.masking["train"], len(batch.names)
        scores = self(batch.fields, batch.sizes, label=batch.label, side=side)
        sides: list[tuple[float, Tensor]] = getattr(self.net, "side_scores", list)()
        losses, pixels = [], 0.0
        for task, of_task in zip(self.tasks, [self.loss, *self.further_losses], strict=True):
            assert of_task is not None
            label = task.label_of(batch)
            each = [w * of_task(task.of_scores(s), label) for w, s in [(1.0, scores), *sides]]
            losses.append(sum(each[1:], each[0]))
            # A custom loss adds up an unknown number of pixels, at most all of them.
            pixels += (of_task.pixels if isinstance(of_task, PixelLoss) else torch.numel)(label)
        loss = sum(losses[1:], losses[0])
        self.finite.watch(loss, self.global_step, batch.names, pixels)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=images)
        if losses[1:]:
            for task, each in zip(self.tasks, losses, strict=True):
                self.log(f"train/{task.name}_loss", each.detach(), batch_size=images)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        """Name the step of the values logged at its end."""
        self.log("step", float(self.global_step))  # the loggers' own is one less during training

    def on_train_start(self) -> None:
        """Let the monitor of the loss know the scaler of a training in float16."""
        self.finite.scaler = self._scaler()

    def on_validation_start(self) -> None:
        """Reset times. Raises TrainingError if training has failed."""
        self.finite.check()
        self.finite.check_factor()
        self.stopwatch = Stopwatch()

    def on_validation_epoch_start(self) -> None:
        """Record the images one by one, unless the training goes on after this scoring."""
        goes_on = self.trainer.state.fn == "fit" and self.global_step < self.trainer.max_steps
        for counts in self.counts:
            counts.begin(None if goes_on else Recorder(self.worst))

    def validation_step(self, batch: PaddedBatch, batch_idx: int) -> Tensor:
        """Count one batch; returns the first task's predictions, (N, H, W)."""
        side = self.masking["test"]
        start = self.stopwatch.begin(self.device)
        scores = self(batch.fields, batch.sizes, label=batch.label, side=side)
        predictions = [best_class(task.of_scores(scores), 1, batch.names) for task in self.tasks]
        self.stopwatch.end(start, len(batch.names))
        bands = None
        if self.trimap is not None:
            self.trimap.update(predictions[0], batch.label)
            bands = self.trimap.latest
        for counts, prediction in zip(self.counts, predictions, strict=True):
            counts.update(prediction, batch, self.keep, bands)
            bands = None
        return predictions[0]

    def on_validation_epoch_end(self) -> None:
        """Log the four scores of the whole set."""
        if self.trimap is not None:  # now: NCCL cannot sum once Lightning moved it to the CPU
            self.bands = self.trimap.compute().cpu()
            self.trimap.reset()
        for counts in self.counts:
            scores = counts.finish()
            self.log_dict({counts.task.key(f"val/{name}"): v for name, v in scores.items()})
        self.log("step", float(self.global_step))
        self.scored_step = self.global_step

    def scoring_seconds(self) -> list[float]:
        """Return seconds per image of the last scoring, one value per image.

        Measured from the stored bytes on the device to the label map on the device, without reading
        and counting.
        """
        return self.stopwatch.seconds()

    def on_train_batch_start(self, batch: PaddedBatch, batch_idx: int) -> None:
        """Seed the generator from seed and pass, so that a resumed run draws the same numbers.

        Dropout and a sampled loss draw. If passes are not shared, the draws of a pass do not depend
        on the number of processes.
        """
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        number = [batch_idx * processes + rank] if self.passes_whole else [batch_idx, rank]
        state = int(np.random.SeedSequence([self.seed, 1, *number]).generate_state(1)[0])
        if self.device.type == "cpu":  # torch.manual_seed also stores a traceback for CUDA
            torch.default_generator.manual_seed(state)
        else:
            torch.manual_seed(state)

    def prediction_of(
        self, name: str, fields: dict[str, Tensor], label: Tensor | None, number: int = 0
    ) -> Tensor:
        """Return the prediction of one image, (H, W), from the last scoring if kept there.

        number: of the task. label: of the first task, for masking; see `label_image`.
        """
        counts = self.counts[number]
        if name in counts.kept:
            return counts.kept[name]
        return best_class(counts.task.of_scores(self.label_image(fields, label)[1]), axis=0)

    @torch.inference_mode()
    def label_image(
        self, fields: dict[str, Tensor], label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the first task's prediction, (H, W), and all scores, float32 (K, H, W).

        fields: of one image as stored, each (C, H, W), by name. label: (H, W), for masking as in
        `test`; None: no masking. Call in eval mode.
        """
        batch = {name: fields[name][None].to(self.device) for name in self.recipe.fields}
        sizes = torch.tensor([next(iter(batch.values())).shape[-2:]])
        side, truth = None, None
        if label is not None:
            side, truth = self.masking["test"], label[None].to(self.device)
        scores = self(batch, sizes, label=truth, side=side)[0].float().cpu()
        return best_class(self.tasks[0].of_scores(scores), axis=0), scores

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the joint norm of all gradients. Lightning's own refuses fused optimisers.

        In float16 gradients are scaled until now for optimisers that would unscale them in their
        step, the fused ones; for all others Lightning has unscaled them.
        """
        if gradient_clip_val is None:
            return
        scaler = self._scaler()
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)  # it remembers this, so the step does not do it again
        nn.utils.clip_grad_norm_(self.net.parameters(), gradient_clip_val)

    def _scaler(self) -> "torch.amp.GradScaler | None":
        """Return what scales the loss of a training in float16, else None."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def configure_optimizers(self) -> Any:
        """Return the regime's optimiser and schedule. Raises ConfigError if they refuse a value."""
        assert self.optimizer_factory and self.schedule_factory and self.groups
        try:
            optimizer = self.optimizer_factory(self.groups)
            schedule = self.schedule_factory(optimizer, steps=self.trainer.max_steps)
        except ValueError as error:
            raise ConfigError(f"regime: {error}") from None
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what `evaluate` and `predict` need to rebuild the net.

        Raises TrainingError if the last loss was not finite, as the weights are then useless.
        """
        self.finite.check()
        checkpoint["fcnexp"] = self.facts

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resume at the first pass of the next step, as a half accumulated gradient is not stored.

        The count of passes that Lightning stores may be in the middle of a step.
        """
        done = checkpoint["global_step"] * self.passes_per_step
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for count in (progress["total"], progress["current"]):
            count.update({name: done for name in count})
