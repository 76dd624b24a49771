"""Part `hha`: HHA images of depth images, 480x640, on one core and on all."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from fcnexp.benching.measure import interleaved
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig
from fcnexp.data.files import read_depth
from fcnexp.data.generated.raycast import intrinsics
from fcnexp.data.generated.rooms import frame
from fcnexp.data.hha import NYUD_INTRINSICS, encode_hha
from fcnexp.data.layout import find_layout
from fcnexp.prepare import encode_one, in_processes
from fcnexp.system import this_process

SIZE = (480, 640)
FRAMES = 6  # rooms that are drawn; each is encoded several times in a round
MANY = 8  # times as many images as asked for: processes take seconds to start
METRES = 1e-3  # of a stored unit


def hha(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """One table: encoding alone, then as `prepare hha` does it, files to files."""
    depths, camera, words = scenes(asked)
    with TemporaryDirectory() as folder:
        yield one_table(asked, depths, camera, words, Path(folder))


def scenes(asked: BenchConfig) -> tuple[list[np.ndarray], np.ndarray, str]:
    """Depth images in millimetres, the camera's matrix, and what they are. Raises DataError."""
    if asked.nyud is None:
        drawn = [frame(0, "train", i, SIZE).depth for i in range(FRAMES)]
        depths = [np.round(1000 * depth).astype(np.uint16) for depth in drawn]
        return depths, intrinsics(SIZE), f"{len(depths)} generated rooms"
    folder = find_layout(Path(asked.nyud), ("data/depth",), "nyud") / "data" / "depth"
    paths = sorted(folder.glob("*.png"))[:FRAMES]
    depths = [read_depth(path)[0].numpy().astype(np.uint16) for path in paths]
    return depths, NYUD_INTRINSICS, f"{len(depths)} images of NYUDv2"


def one_table(
    asked: BenchConfig, depths: list[np.ndarray], camera: np.ndarray, words: str, folder: Path
) -> Table:
    """Seconds to encode many images, once."""
    paths, count = [], MANY * asked.images
    for i in range(count):
        paths.append(folder / f"{i:03d}.png")
        Image.fromarray(depths[i % len(depths)]).save(paths[-1])
    output = folder / "hha"
    output.mkdir()
    scaled = [depth * METRES for depth in depths]

    def alone() -> None:
        for i in range(count):
            depth = scaled[i % len(scaled)]
            encode_hha(depth, depth == 0, camera)

    def files(workers: int) -> None:
        job = Encoding(output, camera.tolist())
        for _ in in_processes(job, paths, workers):
            pass

    ways = {"encoding alone, one process": alone}
    for workers in sorted({1, this_process.cores()}):
        plural = "es" if workers > 1 else ""
        ways[f"files to files, {workers} process{plural}"] = partial(files, workers)
    seconds = interleaved(ways, 1, torch.device("cpu"))
    rows = [Row(name, each) for name, each in seconds.items()]
    height, width = depths[0].shape
    title = f"HHA of {count} depth images {height}x{width} ({words})"
    return Table(title, rows, (), count)


class Encoding:
    """Encodes one file as `python -m fcnexp.prepare hha` does; it can be sent to a process."""

    def __init__(self, output: Path, camera: list[list[float]]) -> None:
        self.output, self.camera = output, camera

    def __call__(self, path: Path) -> None:
        """Write one HHA image."""
        encode_one(path, raw=None, output=self.output, camera=self.camera, unit=METRES)
