"""Labels of an image of any size in bounded memory, window by window."""

import gc
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from fcnexp import label_type
from fcnexp.errors import ConfigError, WeightsError
from fcnexp.nn.bands import Bands
from fcnexp.nn.dense.tiling import Piece, Tiling, on_meta, tiling_of
from fcnexp.nn.fast.switches import plain
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.inspection.memory_estimate import peak_bytes
from fcnexp.nn.streams import Network
from fcnexp.predicting.memory import megabytes, resident
from fcnexp.scoring.tasks import Task, tasks_of
from fcnexp.system.free_memory import free

SHARE = 0.6  # fraction of the free memory used without a limit, as other programs need some
SLACK = 100 * 10**6  # bytes that the allocator keeps after they are freed (at most, measured)
MORE = 1.1  # largest ratio of measured to modelled memory of a window
NOT_TILED = "and this net cannot score windows: its scores depend on more than its layers show"
KEEPING = ("packed", "winograd")  # fast paths that store weights twice, switched off by a limit
PICTURE = 12  # most bytes per pixel that reading an image or writing an overlay takes


class Labeller(Protocol):
    """Scores an image or a window of it.

    fields: names of its inputs. bands: how it takes bands, None if it takes none. tiling: grid that
    windows must be aligned to; None if it can only score complete images.
    """

    class_names: tuple[str, ...]
    fields: tuple[str, ...]
    bands: Bands | None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it labels; `class_names` holds the classes of all tasks."""

    @property
    def tiling(self) -> Tiling | None:
        """Grid that windows must be aligned to."""

    @property
    def device(self) -> torch.device:
        """Device of the scores."""

    def scores(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Return scores float32 (K, H, W), on the device, of fields as stored, each (C, H, W)."""

    def bytes_of(self, height: int, width: int) -> int:
        """Return the most bytes that scoring a window of this size and its argmax take."""


class NetLabeller:
    """A net with its input recipe; see `Labeller`. net: in eval mode, on its device."""

    def __init__(self, net: Network, recipe: InputRecipe, class_names: tuple[str, ...]) -> None:
        self.net, self.recipe, self.class_names = net, recipe, class_names
        self.fields = tuple(recipe.fields)
        self.bands = recipe.bands
        self._twin = on_meta(net)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What the net labels."""
        return tasks_of(self.class_names, self.net.outputs)

    @cached_property
    def tiling(self) -> Tiling | None:
        """Grid that windows must be aligned to, derived from the net's maps."""
        return tiling_of(self.net, {name: f.channels for name, f in self.recipe.fields.items()})

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.net.parameters()).device

    @torch.inference_mode()
    def scores(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Return scores float32 (K, H, W), on the device, of fields as stored, each (C, H, W)."""
        batch = {name: fields[name][None].to(self.device) for name in self.fields}
        return _run(self.net, self.recipe, batch)

    @lru_cache(maxsize=1000)  # noqa: B019  # one labeller per process
    def bytes_of(self, height: int, width: int) -> int:
        """Return the most bytes that scoring a window of this size and its argmax take."""
        channels = self.recipe.stored_channels

        def run() -> Tensor:
            maps = {n: torch.empty(1, c, height, width) for n, c in channels.items()}
            stored = {n: x if n == "bands" else x.byte() for n, x in maps.items()}
            return _run(self._twin, self.recipe, stored).argmax(0)

        return int(MORE * peak_bytes(run))


def _run(net: Network, recipe: InputRecipe, fields: dict[str, Tensor]) -> Tensor:
    sizes = torch.tensor([next(iter(fields.values())).shape[-2:]], device="cpu")
    return net(recipe.apply(fields, sizes))[0].float()


def label_picture(
    labeller: Labeller,
    fields: Mapping[str, Tensor],
    memory: int | None,
    scores: tuple[Path, tuple[int, int, int]] | None = None,
) -> np.ndarray:
    """Return the best class of each pixel, (H, W), as `label_maps` does for one task."""
    return label_maps(labeller, fields, memory, [slice(None)], scores)[0]


def label_maps(
    labeller: Labeller,
    fields: Mapping[str, Tensor],
    memory: int | None,
    parts: Sequence[slice],
    scores: tuple[Path, tuple[int, int, int]] | None = None,
) -> list[np.ndarray]:
    """Return the best class of each pixel for each task, (H, W) of its type; see `label_type`.

    fields: as stored, each (C, H, W). memory: bytes that the process may take, on a GPU those of
    torch; None: a fraction of what is free. parts: places of each task's classes in the scores.
    scores: .npy file to write the float32 scores to, and their shape (K, H, W). Raises ConfigError
    if no window fits, WeightsError if a score is NaN or infinite: its class would be arbitrary.
    """
    height, width = next(iter(fields.values())).shape[-2:]
    classes = range(len(labeller.class_names))
    kinds = [label_type(len(classes[part])) for part in parts]
    labels = [np.empty((height, width), kind) for kind in kinds]
    rows, columns = windows(labeller, (height, width), memory)
    if scores is not None:
        open_memmap(scores[0], "w+", np.float32, scores[1])
        _reserve_disk(scores[0])
    for row in rows:
        for column in columns:
            window = slice(row.begin, row.end), slice(column.begin, column.end)
            with plain(KEEPING if memory is not None else ()):
                found = labeller.scores({name: x[:, *window] for name, x in fields.items()})
            kept = found[:, row.inner, column.inner]
            place = slice(row.first, row.last), slice(column.first, column.last)
            for label, part, kind in zip(labels, parts, kinds, strict=True):
                highest, best = kept[part].max(0)
                _refuse_not_finite(highest)
                label[place] = best.to("cpu", getattr(torch, kind)).numpy()
            if scores is not None:
                # Reopened each time, as mapped pages count as memory of this process.
                open_memmap(scores[0], "r+")[:, *place] = kept.cpu().numpy()
            del found, kept  # before the next window's maps are allocated
    return labels


def _reserve_disk(path: Path) -> None:
    """Reserve a file's size on disk, as writing to a mapped file on a full disk is a SIGBUS."""
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _refuse_not_finite(highest: Tensor) -> None:
    if not highest.isfinite().all():
        raise WeightsError(
            "scores of the net are NaN or infinite: the training diverged; use an earlier "
            "checkpoint, or one trained with a lower regime.lr"
        )


def windows(
    labeller: Labeller, size: tuple[int, int], memory: int | None
) -> tuple[list[Piece], list[Piece]]:
    """Return rows and columns of the largest windows whose maps fit; see `label_picture`.

    Raises ConfigError if not even the smallest fit.
    """
    height, width = size
    space = room(labeller.device, memory)

    def fits(side: int) -> bool:
        return labeller.bytes_of(min(side, height), min(side, width)) <= space

    if fits(max(size)):
        return [Piece(0, height, 0, height)], [Piece(0, width, 0, width)]
    tiling = labeller.tiling
    least = tiling.least if tiling else max(size)
    if tiling is None or not fits(least):
        missing = labeller.bytes_of(min(least, height), min(least, width)) - space
        raise ConfigError(_too_little(memory, missing, (min(least, height), min(least, width))))
    low, high = least // tiling.stride, -(-max(size) // tiling.stride)  # fits, does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * tiling.stride) else (low, middle)
    return tiling.pieces(height, low * tiling.stride), tiling.pieces(width, low * tiling.stride)


def room(device: torch.device, memory: int | None) -> int:
    """Return the bytes that a window's maps may take on a device now."""
    if device.type == "cuda":
        if memory is None:
            return int(SHARE * torch.cuda.mem_get_info(device)[0])
        return memory - torch.cuda.memory_allocated(device) - SLACK
    gc.collect()
    return int(SHARE * free()) if memory is None else memory - resident() - SLACK


def refuse_too_little(
    labeller: Labeller, path: Path, size: tuple[int, int], memory: int | None
) -> None:
    """Raise ConfigError, naming a sufficient limit, if memory is too small to label an image.

    size: the image's height and width, known before its pixels are read.
    """
    if memory is None or labeller.device.type != "cpu":
        return
    height, width = size
    least = labeller.tiling.least if labeller.tiling else max(size)
    maps = labeller.bytes_of(min(least, height), min(least, width))
    # Reading or writing takes PICTURE bytes per pixel; scoring holds image (3) and label (1), too.
    needed = resident() + SLACK + max(PICTURE * height * width, 4 * height * width + maps)
    if needed > memory:
        enough = megabytes(1.02 * needed)  # libraries' memory differs a little between runs
        cut = f"even in this net's smallest windows of {least}" if labeller.tiling else NOT_TILED
        raise ConfigError(
            f"memory={megabytes(memory)}: too little for {path}, {width}x{height} pixels, {cut}; "
            f"try memory={enough}"
        )


def _too_little(memory: int | None, missing: int, least: tuple[int, int]) -> str:
    """Error message if `missing` bytes are needed for the smallest window, `least` pixels."""
    window = f"this net's smallest window, {least[1]}x{least[0]} pixels"
    if memory is None:
        return f"{window}, takes {megabytes(missing)} more than is free; close other programs"
    needed = megabytes(memory + missing)
    return f"memory={megabytes(memory)}: too little for {window}; try memory={needed}"
