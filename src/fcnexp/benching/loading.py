"""Part `data`: photographs with labels, from files to a net's input, by cores and processes."""

from collections.abc import Callable, Iterator
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
MOST_ROUNDS = 1  # of scaling, whose tables have many rows
KEPT = 20  # photographs in memory, whose bytes become numbers
REPEATED = 4  # times each photograph comes when processes read, whose start would weigh else
BYTES = f"{nets.OURS}, bytes alone"
RECIPE = f"{nets.OURS}, Colour.apply alone"


def data(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """A table for each kind of label, then one by number of worker processes."""
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
    """Whose reading ours is compared with: the peer's where it is installed."""
    return nets.TEXTBOOK if peer.torchfcn() is None else nets.PEER


def input_recipe() -> Any:
    """From bytes to the input of VGG16."""
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

    def through_net_space() -> None:
        for i in range(count):
            batch = collate([ours[i]])
            recipe.apply(batch.fields, batch.sizes)

    ways: dict[str, Callable[[], Any]] = {
        base(): lambda: [theirs[i] for i in range(count)],
        nets.OURS: through_net_space,
        BYTES: lambda: [ours[i] for i in range(count)],
        RECIPE: lambda: [recipe.apply(batch.fields, batch.sizes) for batch in read],
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = interleaved(ways, asked.rounds, torch.device("cpu"))
    finally:
        torch.set_num_threads(threads)
    rows = [
        Row(name, each, {"ms an image": 1000 * median(each) / count})
        for name, each in seconds.items()
    ]
    note = (
        f"Both give float32 BGR minus mean; {BYTES}: as it leaves the reader, uint8, since the "
        f"rest is done on the device, once for the batch; {RECIPE}: that rest."
    )
    return Table(f"{what}: {count} {found.words}, one core", rows, (base(),), count, [note])


def by_workers(asked: BenchConfig, found: Photographs, ours: Any, theirs: Dataset[Any]) -> Table:
    """Seconds to go through both loaders, images one by one, to the net's input."""
    others: Dataset[Any] = ConcatDataset([theirs] * REPEATED)

    def their_loading(workers: int) -> Callable[[], None]:
        def run() -> None:
            for _ in plain_loop.loader(others, torch.device("cpu"), workers):
                pass

        return run

    ways: dict[str, Callable[[], None]] = {}
    for workers in WORKERS:
        ways[f"{base()}, workers {workers}"] = their_loading(workers)
        ways[f"{nets.OURS}, workers {workers}"] = our_loading(ours, workers)
    seconds = interleaved(ways, asked.rounds, torch.device("cpu"))
    rows = []
    for name, each in seconds.items():
        same = seconds[f"{base()},{name.partition(',')[2]}"]
        rows.append(Row(name, each, {f"than {base()} with as many": f"{faster(each, same):.2f}"}))
    images = REPEATED * len(ours)
    return Table(f"Loaders: {images} {found.words}, PNG labels", rows, (), images)


def our_workers(asked: BenchConfig, found: Photographs) -> Table:
    """Seconds of our loader alone, by as many worker processes as asked."""
    from fcnexp.data.voc import voc_segmentation

    ours = voc_segmentation(found.voc, "val", plain_loop.NUM_CLASSES)
    ways = {workers: our_loading(ours, workers) for workers in asked.workers}
    images = REPEATED * len(ours)
    seconds = interleaved(ways, min(MOST_ROUNDS, asked.rounds), torch.device("cpu"))
    rows = [
        Row(nets.OURS, each, {"workers": workers, "images": images})
        for workers, each in seconds.items()
    ]
    return Table(f"Loading {images} {found.words}, by workers", rows, (), images)


def our_loading(samples: Any, workers: int) -> Callable[[], None]:
    """Goes through our loader, each photograph some times, to the net's input."""
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.data.folders import concatenate

    recipe = input_recipe()
    module = SegmentationData.for_scoring(None, ("rgb",), workers)  # type: ignore[arg-type]  # set below
    module.val = concatenate([samples] * REPEATED)

    def run() -> None:
        for batch in module.val_dataloader():
            recipe.apply(batch.fields, batch.sizes)

    return run
