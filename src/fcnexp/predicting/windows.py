"""Labels of a picture of any size in bounded memory, window by window."""

import gc
import os
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from fcnexp.errors import ConfigError
from fcnexp.nn.dense.tiling import Piece, Tiling, on_meta, tiling_of
from fcnexp.nn.fast.switches import plain
from fcnexp.nn.inputs import InputRecipe
from fcnexp.nn.inspection.memory_estimate import footprint
from fcnexp.nn.streams import Network
from fcnexp.predicting.memory import free, megabytes, resident

SHARE = 0.6  # of what is free is taken where no limit is given: others want memory, too
SLACK = 100 * 10**6  # bytes that the allocator keeps of what was freed (seen: up to 100 MB)
MORE = 1.1  # measured over modelled memory of a window, at most
UNCUT = "which this net takes whole only: a part of it looks at more than its layers tell"
KEEPING = ("packed", "winograd")  # fast ways that hold weights twice: a limit is for maps
PICTURE = 12  # bytes per pixel at most for reading a photograph, or for writing an overlay


class Labeller(Protocol):
    """What scores a picture, or a window of it.

    fields: what it takes, by name. tiling: where windows may lie; None where it takes whole
    pictures only.
    """

    class_names: tuple[str, ...]
    fields: tuple[str, ...]

    @property
    def tiling(self) -> Tiling | None:
        """Where windows may lie."""
        ...

    @property
    def device(self) -> torch.device:
        """Where scores are computed."""
        ...

    def scores(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Scores float32 (K, H, W), on the device, of fields as stored, each (C, H, W)."""
        ...

    def bytes_of(self, height: int, width: int) -> int:
        """Memory that scoring a window of this size and finding its best class takes at most."""
        ...


class NetLabeller:
    """A net with its input recipe; see `Labeller`. net: in eval mode, on its device."""

    def __init__(self, net: Network, recipe: InputRecipe, class_names: tuple[str, ...]) -> None:
        self.net, self.recipe, self.class_names = net, recipe, class_names
        self.fields = tuple(recipe.fields)
        self._twin = on_meta(net)

    @cached_property
    def tiling(self) -> Tiling | None:
        """Where windows may lie, as the net's maps tell."""
        return tiling_of(self.net, {name: f.channels for name, f in self.recipe.fields.items()})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.net.parameters()).device

    @torch.inference_mode()
    def scores(self, fields: Mapping[str, Tensor]) -> Tensor:
        """Scores float32 (K, H, W), on the device, of fields as stored, each (C, H, W)."""
        return _run(
            self.net, self.recipe, {n: fields[n][None].to(self.device) for n in self.fields}
        )

    @lru_cache(maxsize=1000)  # noqa: B019  # one labeller a process
    def bytes_of(self, height: int, width: int) -> int:
        """Memory that scoring a window of this size and finding its best class takes at most."""
        channels = {name: recipe.channels for name, recipe in self.recipe.fields.items()}

        def run() -> Tensor:
            stored = {n: torch.empty(1, c, height, width).byte() for n, c in channels.items()}
            return _run(self._twin, self.recipe, stored).argmax(0)

        return int(MORE * footprint(run))


def _run(net: Network, recipe: InputRecipe, fields: dict[str, Tensor]) -> Tensor:
    sizes = torch.tensor([next(iter(fields.values())).shape[-2:]], device="cpu")
    return net(recipe.apply(fields, sizes))[0].float()


def label_picture(
    labeller: Labeller,
    fields: Mapping[str, Tensor],
    memory: int | None,
    scores: tuple[Path, tuple[int, int, int]] | None = None,
) -> np.ndarray:
    """Best class of each pixel, uint8 (H, W).

    fields: as stored, each (C, H, W). memory: bytes that the process may take, on a GPU what torch
    may take there; None: what is free, with a share for others. scores: a .npy file, float32, to
    write them to, and its shape (K, H, W). Raises ConfigError where no window fits.
    """
    height, width = next(iter(fields.values())).shape[-2:]
    label = np.empty((height, width), np.uint8)
    rows, columns = windows(labeller, (height, width), memory)
    if scores is not None:
        open_memmap(scores[0], "w+", np.float32, scores[1])
        _take_room(scores[0])
    for row in rows:
        for column in columns:
            window = slice(row.begin, row.end), slice(column.begin, column.end)
            with plain(KEEPING if memory is not None else ()):
                found = labeller.scores({name: x[:, *window] for name, x in fields.items()})
            kept = found[:, row.inner, column.inner]
            place = slice(row.first, row.last), slice(column.first, column.last)
            label[place] = kept.max(0).indices.to("cpu", torch.uint8).numpy()
            if scores is not None:
                # Opened anew each time: what is mapped counts as this process's memory.
                open_memmap(scores[0], "r+")[:, *place] = kept.cpu().numpy()
            del found, kept  # before the next window's maps come
    return label


def _take_room(path: Path) -> None:
    """Have the disk set a file's size aside: to write where it has none kills the process."""
    if hasattr(os, "posix_fallocate"):  # macOS has none
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def windows(
    labeller: Labeller, size: tuple[int, int], memory: int | None
) -> tuple[list[Piece], list[Piece]]:
    """Rows and columns of the largest windows whose maps fit; see `label_picture`.

    Raises ConfigError where not even the smallest do.
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
    """Bytes that a window's maps may take on a device now."""
    if device.type == "cuda":
        if memory is None:
            return int(SHARE * torch.cuda.mem_get_info(device)[0])
        return memory - torch.cuda.memory_allocated(device) - SLACK
    gc.collect()
    return int(SHARE * free()) if memory is None else memory - resident() - SLACK


def refuse_too_little(
    labeller: Labeller, path: Path, size: tuple[int, int], memory: int | None
) -> None:
    """Raise ConfigError, saying what would do, where a photograph cannot be labelled in memory.

    size: its height and width, which are known before it is read.
    """
    if memory is None or labeller.device.type != "cpu":
        return
    height, width = size
    least = labeller.tiling.least if labeller.tiling else max(size)
    maps = labeller.bytes_of(min(least, height), min(least, width))
    # It is held as read, with its labels, beside a window's maps; alone when it is read or written.
    needed = resident() + SLACK + max(PICTURE * height * width, 4 * height * width + maps)
    if needed > memory:
        enough = megabytes(1.02 * needed)  # what libraries hold differs a little by the run
        cut = f"even in this net's smallest windows of {least}" if labeller.tiling else UNCUT
        raise ConfigError(
            f"memory={megabytes(memory)}: too little for {path}, {width}x{height} pixels, {cut}; "
            f"say memory={enough}"
        )


def _too_little(memory: int | None, missing: int, least: tuple[int, int]) -> str:
    """What to say where so many bytes are missing for the smallest window."""
    window = f"this net's smallest window, {least[1]}x{least[0]} pixels, "
    if memory is None:
        return f"{window}takes {megabytes(missing)} more than is free; end other programs"
    needed = megabytes(memory + missing)
    return f"memory={megabytes(memory)}: too little for {window}say memory={needed}"
