"""Part `data`: labelled photographs from files to network input, on one core and by workers."""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.utils.data import ConcatDataset, Dataset

from fcnexp.benching import nets, peer, plain_loop
from fcnexp.benching.measure import faster, interleaved
from fcnexp.benching.photographs import Photographs, photographs
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig

WORKERS = (0, 1, 2)
MOST_ROUNDS = 1  # of part `scale`, whose tables have many rows
KEPT = 20  # photographs held in memory for the input recipe alone
REPEATED = 4  # passes over the photographs, so that starting workers weighs less
BYTES = f"{nets.OURS}, bytes alone"
RECIPE = f"{nets.OURS}, Colour.apply alone"


def data(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield a table for each kind of label, then one by number of worker processes."""
    from fcnexp.data.voc import sbd_segmentation, voc_segmentation

    with photographs(asked) as found:
        classes = plain_loop.NUM_CLASSES
        ours = sbd_segmentation(found.sbd, "val", classes)
        yield one_core(asked, found, "JPEG and SBD label (.mat)", ours, plain_loop.sbd(found))
        ours = voc_segmentation(found.voc, "val", classes)
        theirs = plain_loop.voc(found)
        yield one_core(asked, found, "JPEG and PNG label", ours, theirs)
        yield by_workers(asked, found, ours, theirs)


def base() -> str:
    """Name of the loader that ours is compared with: torchfcn's if it is installed."""
    return nets.TEXTBOOK if peer.torchfcn() is None else nets.PEER


def input_recipe() -> Any:
    """Build the input recipe of VGG16."""
    from fcnexp import build
    from fcnexp.config.compose import compose_run

    return build.part(compose_run(["experiment=voc_fcn8s", "init=scratch"]), "modality")


def one_core(
    asked: BenchConfig, found: Photographs, what: str, ours: Any, theirs: Dataset[Any]
) -> Table:
    """Seconds to read each photograph once in this process, by one thread."""
    from fcnexp.data.collate import collate

    recipe, count = input_recipe(), len(ours)
    read = [collate([ours[i]]) for i in range(min(KEPT, count))]
    read = [read[i % len(read)] for i in range(count)]

    def to_network_input() -> None:
        for i in range(count):
            batch = collate([ours[i]])
            recipe.apply(batch.fields, batch.sizes)

    runs: dict[str, Callable[[], Any]] = {
        base(): lambda: [theirs[i] for i in range(count)],
        nets.OURS: to_network_input,
        BYTES: lambda: [ours[i] for i in range(count)],
        RECIPE: lambda: [recipe.apply(batch.fields, batch.sizes) for batch in read],
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = interleaved(runs, asked.rounds, torch.device("cpu"))
    finally:
        torch.set_num_threads(threads)
    rows = [
        Row(name, each, {"ms an image": 1000 * median(each) / count})
        for name, each in seconds.items()
    ]
    note = (
        f"Both return float32 BGR minus mean; {BYTES}: the reader's uint8 output, as the rest is "
        f"done on the device, once per batch; {RECIPE}: this rest."
    )
    return Table(f"{what}: {count} {found.description}, one core", rows, (base(),), count, [note])


def by_workers(asked: BenchConfig, found: Photographs, ours: Any, theirs: Dataset[Any]) -> Table:
    """Seconds of both loaders with batch size 1, to network input, by number of workers."""
    others: Dataset[Any] = ConcatDataset([theirs] * REPEATED)

    def their_loading(workers: int) -> None:
        for _ in plain_loop.loader(others, torch.device("cpu"), workers):
            pass

    runs: dict[str, Callable[[], None]] = {}
    for workers in WORKERS:
        runs[f"{base()}, workers {workers}"] = partial(their_loading, workers)
        runs[f"{nets.OURS}, workers {workers}"] = our_loading(ours, workers)
    seconds = interleaved(runs, asked.rounds, torch.device("cpu"))
    rows = []
    for name, each in seconds.items():
        same = seconds[f"{base()},{name.partition(',')[2]}"]
        rows.append(Row(name, each, {f"than {base()} with as many": f"{faster(each, same):.2f}"}))
    images = REPEATED * len(ours)
    return Table(f"Loaders: {images} {found.description}, PNG labels", rows, (), images)


def our_workers(asked: BenchConfig, found: Photographs) -> Table:
    """Seconds of our loader alone, by number of workers."""
    from fcnexp.data.voc import voc_segmentation

    ours = voc_segmentation(found.voc, "val", plain_loop.NUM_CLASSES)
    runs = {workers: our_loading(ours, workers) for workers in asked.workers}
    images = REPEATED * len(ours)
    seconds = interleaved(runs, min(MOST_ROUNDS, asked.rounds), torch.device("cpu"))
    rows = [
        Row(nets.OURS, each, {"workers": workers, "images": images})
        for workers, each in seconds.items()
    ]
    return Table(f"Loading {images} {found.description}, by workers", rows, (), images)


def our_loading(samples: Any, workers: int) -> Callable[[], None]:
    """Return a function that runs our loader to network input, with REPEATED passes."""
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.data.folders import concatenate

    recipe = input_recipe()
    module = SegmentationData.for_scoring(None, ("rgb",), workers)  # type: ignore[arg-type]  # set below
    module.val = concatenate([samples] * REPEATED)

    def run() -> None:
        for batch in module.val_dataloader():
            recipe.apply(batch.fields, batch.sizes)

    return run
