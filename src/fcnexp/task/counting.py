"""What is counted of one task while a set is scored, and what came of the last scoring."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fcnexp import label_type
from fcnexp.scoring.per_image import PerImage
from fcnexp.scoring.tasks import Task
from fcnexp.task.four_scores import scores_of
from fcnexp.task.maps import check_finite
from fcnexp.task.protocols import PaddedBatch
from fcnexp.task.recording import Recorder
from fcnexp.task.scores import SegmentationScores


class Counts(nn.Module):
    """Counts of one task.

    scores: confusion matrix of the scoring in progress, of this process. recorder: of its images,
    None unless it is the last one. latest: predictions of the last batch. kept: predictions of
    images asked for, by name. matrix and per_image: of the last scoring, all processes.
    """

    matrix: Tensor
    latest: Tensor

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task, self.scores = task, SegmentationScores(len(task.classes))
        self.recorder: Recorder | None = None
        self.per_image: PerImage | None = None
        self.kept: dict[str, Tensor] = {}

    def begin(self, recorder: Recorder | None) -> None:
        """Begin a scoring."""
        self.recorder, self.per_image, self.kept = recorder, None, {}

    def update(
        self,
        prediction: Tensor,
        batch: PaddedBatch,
        keep: frozenset[str],
        bands: list[dict[int, Tensor]] | None = None,
    ) -> None:
        """Count one batch.

        prediction: (N, H, W). keep: names of the images whose predictions are kept. bands:
        of each image, matrices near boundaries by width, if they are counted.
        """
        self.latest, label = prediction, self.task.label_of(batch)
        self.scores.update(prediction, label)
        for i, name in enumerate(batch.names):
            if self.recorder is None and name not in keep:
                continue
            h, w = batch.sizes[i].tolist()
            if name in keep:
                self.kept[name] = prediction[i, :h, :w].cpu()
            if self.recorder is not None:
                maps = label[i, :h, :w], prediction[i, :h, :w]
                near = {} if bands is None else bands[i]
                self.recorder.add(name, self.scores.latest[i], *maps, near)

    def finish(self) -> dict[str, float]:
        """Gather the counts of all processes; return the four scores of the whole set."""
        with self.scores.sync_context():  # within it, the matrix holds all processes' counts
            self.matrix = self.scores.matrix.cpu().clone()
        if self.recorder is not None:
            self.per_image, worst = self.recorder.gathered(self.task.classes)
            self.kept |= worst
        self.scores.reset()
        return scores_of(self.matrix)


def best_class(scores: Tensor, axis: int, names: Sequence[str] = ()) -> Tensor:
    """Index of the highest score along the axis of the classes; the first of equal ones.

    uint8, or with more than 255 classes int16. names: of the N images of scores (N, K, H, W);
    without them, NaN and infinity are not refused. Raises WeightsError.
    """
    # `argmax` returns the same, but takes ten times as long on contiguous (K, H, W) scores.
    highest, found = scores.max(axis)
    if names:
        check_finite(highest, names)
    return found.to(getattr(torch, label_type(scores.shape[axis])))
