"""Part `hha`: HHA encoding of 480x640 depth images, on one core and on all."""

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
from fcnexp.data.folders import find_layout
from fcnexp.data.generated.raycast import intrinsics
from fcnexp.data.generated.rooms import frame
from fcnexp.data.hha import NYUD_INTRINSICS, encode_hha
from fcnexp.prepare import encode_one
from fcnexp.system import this_process
from fcnexp.system.spawned import in_processes

SIZE = (480, 640)
FRAMES = 6  # depth images generated or read; each is encoded several times per round
MANY = 8  # factor on the number of images, as processes take seconds to start
METRES = 1e-3  # per stored unit


def hha(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield one table: encoding in memory, then from files to files as `prepare hha` does."""
    depths, camera, source = scenes(asked)
    with TemporaryDirectory() as folder:
        yield one_table(asked, depths, camera, source, Path(folder))


def scenes(asked: BenchConfig) -> tuple[list[np.ndarray], np.ndarray, str]:
    """Return depth images (mm), the camera's matrix, and their description. Raises DataError."""
    if asked.nyud is None:
        drawn = [frame(0, "train", i, SIZE).depth for i in range(FRAMES)]
        depths = [np.round(1000 * depth).astype(np.uint16) for depth in drawn]
        return depths, intrinsics(SIZE), f"{len(depths)} generated rooms"
    folder = find_layout(Path(asked.nyud), ("data/depth",), "nyud") / "data" / "depth"
    paths = sorted(folder.glob("*.png"))[:FRAMES]
    depths = [read_depth(path)[0].numpy().astype(np.uint16) for path in paths]
    return depths, NYUD_INTRINSICS, f"{len(depths)} images of NYUDv2"


def one_table(
    asked: BenchConfig, depths: list[np.ndarray], camera: np.ndarray, source: str, folder: Path
) -> Table:
    """Seconds to encode all images once."""
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
        encode = partial(encode_one, raw=None, output=output, camera=camera.tolist(), unit=METRES)
        for _ in in_processes(encode, paths, workers):
            pass

    runs = {"encoding alone, one process": alone}
    for workers in sorted({1, this_process.cores()}):
        plural = "es" if workers > 1 else ""
        runs[f"files to files, {workers} process{plural}"] = partial(files, workers)
    seconds = interleaved(runs, 1, torch.device("cpu"))
    rows = [Row(name, each) for name, each in seconds.items()]
    height, width = depths[0].shape
    title = f"HHA of {count} depth images {height}x{width} ({source})"
    return Table(title, rows, (), count)
