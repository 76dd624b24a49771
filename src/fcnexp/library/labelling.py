"""A trained net that labels NumPy images."""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fcnexp import restore
from fcnexp.data.bands import as_float
from fcnexp.errors import ConfigError, DataError
from fcnexp.nn.bands import Bands
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.streams import Network
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.predicting.windows import NetLabeller, label_maps

# Type and channels of each field; depth may have any integer type.
KINDS = {"rgb": "uint8 (H, W, 3), in RGB order", "hha": "uint8 (H, W, 3)"}
KINDS["depth"] = "whole millimetres (H, W), 0 where missing"
PARAMETERS = {  # of `TrainedNet.label`
    **dict.fromkeys(("rgb", "bands"), "image"),
    **{"hha": "hha", "depth": "depth"},
}


class TrainedNet:
    """A net with its trained weights, in eval mode, that labels images of any size.

    net: takes network input and returns scores. recipe: converts stored values to network input.
    class_names: of the first task. fields: names of the inputs, such as `rgb` or `depth`.
    """

    def __init__(self, net: Network, recipe: InputRecipe, class_names: tuple[str, ...]) -> None:
        self._labeller = NetLabeller(net, recipe, class_names)
        self.net, self.recipe = net, recipe
        self.class_names = self._labeller.tasks[0].classes
        self.fields = self._labeller.fields

    def label(
        self,
        image: ArrayLike | None = None,
        *,
        depth: ArrayLike | None = None,
        hha: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Return the class of each pixel, (H, W): uint8, or int16 with more than 255 classes.

        The same labels as from `predict`. A large image is labelled in windows, with the same
        result, so that it takes at most a fraction of the free memory. For a net with several
        tasks, those of the first; see `label_tasks`.

        image: uint8 (H, W, 3) in RGB order, an array or a Pillow image; for a net of bands, all
        bands of a file as stored, (H, W, C) or (C, H, W), see `bands_of`. depth: (H, W) in
        millimetres, 0 where missing; hha: uint8 (H, W, 3); both only for nets that take them.
        Raises DataError if an input is missing, not taken by this net, or has another form.
        """
        return next(iter(self.label_tasks(image, depth=depth, hha=hha).values()))

    def label_tasks(
        self,
        image: ArrayLike | None = None,
        *,
        depth: ArrayLike | None = None,
        hha: ArrayLike | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Return the labels of every task by its name, each as `label` returns the first one's."""
        fields = self._fields({"rgb": image, "depth": depth, "hha": hha})
        tasks = self._labeller.tasks
        maps = label_maps(self._labeller, fields, None, [task.place for task in tasks])
        return {task.name: each for task, each in zip(tasks, maps, strict=True)}

    def scores(
        self,
        image: ArrayLike | None = None,
        *,
        depth: ArrayLike | None = None,
        hha: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Return the scores of each pixel before softmax, float32 (K, H, W), of all tasks.

        The whole image goes through the net at once, whatever memory that takes. Inputs and errors
        are those of `label`.
        """
        fields = self._fields({"rgb": image, "depth": depth, "hha": hha})
        found: NDArray[np.float32] = self._labeller.scores(fields).cpu().numpy()
        return found

    def _fields(self, given: dict[str, ArrayLike | None]) -> dict[str, Tensor]:
        """Return this net's inputs as stored, each (C, H, W). Raises DataError."""
        if (bands := self.recipe.bands) is not None:
            given = {"bands": given["rgb"], "depth": given["depth"], "hha": given["hha"]}
        takes = ", ".join(PARAMETERS[name] for name in self.fields)
        for name, value in given.items():
            if (value is not None) != (name in self.fields):
                wrong = "missing" if value is None else "not taken by this net"
                raise DataError(f"{PARAMETERS[name]}: {wrong}; it takes {takes}")
        if bands is not None:
            return {"bands": bands_of(given["bands"], bands)}
        fields = {name: _stored(name, given[name]) for name in self.fields}
        sizes = {name: tuple(each.shape[-2:]) for name, each in fields.items()}
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{PARAMETERS[n]} {h}x{w}" for n, (h, w) in sizes.items())
            raise DataError(f"inputs differ in size (height x width): {shown}")
        return fields


def load(path: str | os.PathLike[str], device: str = "cpu") -> TrainedNet:
    """Return the net of a checkpoint, `checkpoints/last.ckpt` in a run's folder.

    device: `cpu`, `cuda`, `cuda:1` ... No code in the file is run. Raises WeightsError if the file
    is missing, damaged or no checkpoint, and ConfigError if there is no such device.
    """
    place = os.fspath(path)
    if place.endswith(".onnx"):
        raise ConfigError(
            f"{place}: an exported net, which onnxruntime runs; load takes the checkpoint, and "
            f"python -m fcnexp.predict onnx={place} labels images"
        )
    try:
        where = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device={device}: torch knows no such device; try cpu or cuda") from None
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise ConfigError(f"device={device}: torch finds {found} GPUs; try device=cpu")
    stored = read_checkpoint(place, mapped=True)
    net, recipe = restore.net_of(stored, place)
    return TrainedNet(net.to(where), recipe, tuple(stored["fcnexp"]["class_names"]))


def bands_of(value: Any, bands: Bands) -> Tensor:
    """Return all bands of an image, float32 (C, H, W), NaN where missing.

    value: whole numbers or floats, (H, W, C) or (C, H, W), as their number tells; if it does not,
    the order of the training files, else (H, W, C). One band may be (H, W). Raises DataError if it
    has another form or another number of bands.
    """
    array, count = np.asarray(value), bands.stored_channels
    sides = (array.shape[-1], array.shape[0]) if array.ndim == 3 else ()
    orders = [order for order, n in zip(("hwc", "chw"), sides, strict=False) if n == count]
    fits = bool(orders) or (array.ndim, count) == (2, 1)
    if array.dtype.kind not in "uif" or not array.size or not fits:
        raise DataError(
            f"image: {array.dtype} {array.shape}; must be numbers (H, W, {count}) or ({count}, H, "
            f"W), the {count} bands that the files of the training have"
        )
    axes = bands.axes if bands.axes in orders else orders[0] if orders else None
    return torch.from_numpy(as_float(array, axes, bands.nodata))


def _stored(name: str, value: Any) -> Tensor:
    """Return one field as stored, (C, H, W). Raises DataError if it has another form."""
    array = np.asarray(value)
    flat = name == "depth"
    fits = array.ndim == 2 if flat else (array.ndim == 3 and array.shape[-1] == 3)
    typed = np.issubdtype(array.dtype, np.integer) if flat else array.dtype == np.uint8
    if not (fits and typed and array.size):
        raise DataError(
            f"{PARAMETERS[name]}: {array.dtype} {array.shape}; must be {KINDS[name]}"
            + (", such as np.asarray(Image.open(FILE).convert('RGB'))" if name == "rgb" else "")
        )
    if flat:
        return torch.from_numpy(array.astype(np.int32)[None])
    return torch.from_numpy(np.array(array.transpose(2, 0, 1)))  # a copy: contiguous, writable
