"""Part `infer`: scores of an image, 500x500 and sizes as VOC has them, one at a time."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from fcnexp.benching import nets, work
from fcnexp.benching.measure import difference, interleaved
from fcnexp.benching.nets import Candidate, passes
from fcnexp.benching.peak import peak
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig

BASES = (nets.PEER, nets.TEXTBOOK)
MEASURED = (*BASES, nets.OURS, f"{nets.OURS}, {nets.APPROXIMATE}")  # whose memory is
GIB = 2**30


class Case(NamedTuple):
    """One table. names: of candidates; measured: of those whose memory is."""

    model: str
    sizes: list[list[int]]
    names: list[str]
    rounds: int
    measured: tuple[str, ...]


def infer(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """A table for each net at one size, then one for mixed sizes by the first net."""
    peaks = {
        short: work.convolution_peak(device, dtype)
        for short, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    names = nets.names(asked.channels)
    few = [name for name in names if name in MEASURED]
    first, *others = asked.nets
    cases = [Case(first, [asked.size], names, asked.rounds, MEASURED)]
    fewer = max(1, asked.rounds // 2)
    cases += [Case(model, [asked.size], few, fewer, ()) for model in others]
    cases.append(Case(first, asked.sizes, few, fewer, ()))
    for case in cases:
        yield one_table(asked, device, case, peaks)


def one_table(
    asked: BenchConfig, device: torch.device, case: Case, peaks: dict[str, float]
) -> Table:
    """Seconds to score all sizes once, by candidate."""
    model, sizes = case.model, case.sizes
    compared = nets.candidates(case.names, model, asked.channels, device)
    ways = {one.name: passes(one, sizes) for one in compared}
    reference = next(one for one in compared if one.name == nets.TEXTBOOK)
    wanted = scores_of(reference, sizes, device)
    apart = {one.name: differences(one, wanted, sizes, device) for one in compared}
    seconds = interleaved(ways, case.rounds, device)
    flop = sum(work.textbook_flop(model, asked.channels, (h, w)) for h, w in sizes)
    rows = []
    for one in compared:
        row = Row(one.name, seconds[one.name], apart[one.name], compared=not one.other)
        row.facts |= rates(one, row, flop, peaks)
        rows.append(row)
    del compared, ways, reference, wanted  # their memory is the next ones'
    if asked.memory and case.measured:
        add_memory(asked, device, "infer", case.measured, sizes, rows)
    title = f"{model}, VGG16, {words(sizes)}: scoring, one image at a time"
    return Table(title, rows, BASES, notes=notes(flop, peaks, len(sizes)))


@torch.inference_mode()
def scores_of(one: Candidate, sizes: Sequence[list[int]], device: torch.device) -> list[Tensor]:
    """Scores (1, K, H, W) of an image of each size."""
    images = [nets.image(size, seed).to(device) for seed, size in enumerate(sizes)]
    with one.around():
        return [one.score(one.place(image)).float() for image in images]


def differences(
    one: Candidate, reference: Sequence[Tensor], sizes: Sequence[list[int]], device: torch.device
) -> dict[str, float | str | None]:
    """How far scores are from the reference's, the most over all sizes, and how many labels."""
    most, changed, pixels = 0.0, 0, 0
    if one.other:
        return {"difference": "another net", "other labels": None}
    for scores, wanted in zip(scores_of(one, sizes, device), reference, strict=True):
        most = max(most, difference(scores, wanted))
        changed += int((scores.argmax(1) != wanted.argmax(1)).sum())
        pixels += wanted[:, 0].numel()
    return {"difference": most, "other labels": f"{100 * changed / pixels:.2f} %"}


def rates(
    one: Candidate, row: Row, flop: int, peaks: dict[str, float]
) -> dict[str, float | str | None]:
    """Useful operations a second, and their share of what convolutions reach here at best."""
    if one.other:
        return {"GFLOP/s": None, "of the peak": None}
    done = flop / median(row.seconds)
    peak_rate = peaks["bf16" if one.approximate else "fp32"]
    return {"GFLOP/s": done / 1e9, "of the peak": f"{100 * done / peak_rate:.0f} %"}


def add_memory(
    asked: BenchConfig,
    device: torch.device,
    what: str,
    measured: Sequence[str],
    sizes: Sequence[list[int]],
    rows: list[Row],
) -> None:
    """Add peak memory, of one candidate of the first net after another in a process of its own."""
    found = {
        row.name: peak(
            what=what,
            name=row.name,
            model=asked.nets[0],
            channels=asked.channels,
            sizes=[list(size) for size in sizes],
            device=device.type,
            threads=torch.get_num_threads(),
        )
        for row in rows
        if row.name in measured
    }
    base = next(name for name in BASES if name in found)
    for row in rows:
        took = found.get(row.name)
        row.facts["peak GiB"] = took and took / GIB
        row.facts[f"of {base}'s"] = took and f"{took / found[base]:.2f}"


def words(sizes: Sequence[Sequence[int]]) -> str:
    """Sizes for a title."""
    if len(sizes) == 1:
        return f"{sizes[0][0]}x{sizes[0][1]}"
    return f"{len(sizes)} sizes ({', '.join(f'{h}x{w}' for h, w in sizes)})"


def notes(flop: int, peaks: dict[str, float], images: int) -> list[str]:
    """What the columns are."""
    return [
        f"The textbook net takes {flop / 1e9:,.0f} GFLOP for {images} image(s); GFLOP/s are those "
        "over the time, whatever a candidate really computes. The fastest convolution measured "
        f"here does {peaks['fp32'] / 1e9:,.0f} GFLOP/s in fp32 and {peaks['bf16'] / 1e9:,.0f} in "
        "bf16. difference: largest of the scores to the textbook's, relative to the largest score."
    ]
