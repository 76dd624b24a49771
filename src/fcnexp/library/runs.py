"""Records of runs that other programs made, and reports of any runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import ArrayLike
from torch import Tensor

from fcnexp import MOST_CLASSES, VOID, label_type
from fcnexp.errors import ConfigError, DataError
from fcnexp.papers.published import ABSENT
from fcnexp.reporting.comparison import COSTS
from fcnexp.reporting.record_checks import config_problem
from fcnexp.reporting.records import RESULT
from fcnexp.reporting.result import write_config, write_result
from fcnexp.reporting.writing import report
from fcnexp.scoring.per_image import joined
from fcnexp.task.four_scores import scores_of
from fcnexp.task.recording import Recorder
from fcnexp.task.scores import count_pairs

Setting = str | int | float | bool | None


class RunRecord:
    """Predictions of any program, scored image by image, and written as a run for reports.

    class_names: in the order of their indices. Raises DataError if there are none, too many, or
    two of one name.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        if isinstance(class_names, str) or not 0 < len(self.class_names) <= MOST_CLASSES:
            raise DataError(f"class_names: must be a list of 1 to {MOST_CLASSES} names")
        if len(set(self.class_names)) < len(self.class_names):
            raise DataError(f"class_names: two are equal in {', '.join(self.class_names)}")
        size = len(self.class_names)
        self.matrix: Tensor = torch.zeros(size, size, dtype=torch.int64)
        self._recorder, self._names = Recorder(worst=0), set[str]()

    def add(self, name: str, prediction: ArrayLike, label: ArrayLike) -> None:
        """Count one image.

        name: of the image, the same in all runs that are to be compared image by image.
        prediction: class indices (H, W), any integer type. label: the same, with 255 for void, or
        -1 if there are more than 255 classes. Raises DataError.
        """
        if name in self._names or not name:
            raise DataError(f"{name or 'an image without name'}: each image needs its own name")
        guess = self._map(name, "prediction", prediction)
        truth = self._map(name, "label", label)
        if guess.shape != truth.shape:
            raise DataError(
                f"{name}: prediction {tuple(guess.shape)} and label {tuple(truth.shape)} differ in "
                "size (height, width)"
            )
        try:
            counts = count_pairs(guess, truth, len(self.class_names))
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
        self.matrix += counts
        self._names.add(name)
        self._recorder.add(name, counts, truth, guess, {})

    def scores(self) -> dict[str, float]:
        """Return the paper's four scores of all images so far, as fractions.

        Keys: pixel_acc, mean_acc, miou, fw_iou.
        """
        return scores_of(self.matrix)

    def write(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Setting],
        costs: Mapping[str, float] | None = None,
    ) -> None:
        """Write the folder of a finished run: config.yaml, confusion.csv, images.npz, result.json.

        settings: what distinguishes this run from those that it is compared with. Runs that differ
        in `seed` alone form one row, with their mean and standard deviation. costs: any of
        train_seconds, images_per_second, ms_per_image, peak_memory (bytes), parameters.
        Raises DataError if no image was counted, and ConfigError if a setting or cost is none, or
        the folder holds a run.
        """
        place = Path(folder)
        if not self._recorder.records:
            raise DataError(f"{place}: no image was counted; call add for each")
        if (place / RESULT).exists():
            raise ConfigError(f"{place}: already holds a run; choose another folder")
        config = dict(settings)
        for key, value in config.items():
            if not isinstance(key, str) or not isinstance(value, Setting):
                raise ConfigError(f"settings[{key!r}]={value!r}: must be text, a number or None")
        if problem := config_problem(config):
            raise ConfigError(f"settings: {problem}; `seed` must be a number, `paper` is ours")
        if unknown := [name for name in costs or () if name not in COSTS]:
            raise ConfigError(f"costs: no {', '.join(unknown)}; choose of {', '.join(COSTS)}")
        own = {key: value for key, value in config.items() if key != "seed"}
        facts: dict[str, Any] = {
            "images": len(self._recorder.records),
            **(costs or {}),
            # A report names rows by options that were chosen and keys that were typed.
            "choices": {key: value for key, value in own.items() if isinstance(value, str)},
            "typed": list(own),
        }
        write_config(place, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        images = joined(self._recorder.records, self.class_names)
        write_result(place, self.matrix, self.class_names, facts, images)

    def _map(self, name: str, what: str, values: ArrayLike) -> Tensor:
        """Return a map (H, W) in the type of labels. Raises DataError."""
        array = np.asarray(values)
        if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
            raise DataError(
                f"{name}: {what} is {array.dtype} {array.shape}; must be integers (H, W)"
            )
        kind = label_type(len(self.class_names))
        least, most = (0, VOID) if kind == "uint8" else (-1, MOST_CLASSES)
        if array.min() < least or array.max() > most:
            raise DataError(f"{name}: {what} holds {array.min()} to {array.max()}, not classes")
        return torch.from_numpy(array.astype(kind))


def write_report(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    without: str | None = None,
) -> None:
    """Compare runs as `python -m fcnexp.report` does: print tables, write HTML, Markdown and CSV.

    folders: of runs, or folders that contain them. output: folder, or a file ending in .html, .md
    or .csv; None: the first of the folders. without: class to leave out of the mean IU, or `absent`
    for those not in the ground truth. Raises DataError if there are no runs, and ConfigError.
    """
    several = [folders] if isinstance(folders, str | os.PathLike) else folders
    target = None if output is None else os.fspath(output)
    left_out = ABSENT if without == "absent" else without
    report([os.fspath(each) for each in several], target, left_out)
