"""Part `infer`: scoring of single images, 500x500 and of sizes found in VOC."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from fcnexp.benching import measure, nets
from fcnexp.benching.measure import difference, interleaved
from fcnexp.benching.nets import Candidate, passes
from fcnexp.benching.peak import peak
from fcnexp.benching.tables import Row, Table
from fcnexp.config.schema import BenchConfig

BASES = (nets.PEER, nets.TEXTBOOK)
MEASURED = (*BASES, nets.OURS, f"{nets.OURS}, {nets.APPROXIMATE}")  # candidates for peak memory
GIB = 2**30


class Case(NamedTuple):
    """One table. names: of its candidates. measured: names of those whose memory is measured."""

    model: str
    sizes: list[list[int]]
    names: list[str]
    rounds: int
    measured: tuple[str, ...]


def infer(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield a table for each net at one size, then one for mixed sizes with the first net."""
    peaks = {
        short: measure.convolution_peak(device, dtype)
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
    runs = {one.name: passes(one, sizes) for one in compared}
    textbook = next(one for one in compared if one.name == nets.TEXTBOOK)
    reference = scores_of(textbook, sizes, device)
    found = {one.name: differences(one, reference, sizes, device) for one in compared}
    seconds = interleaved(runs, case.rounds, device)
    flop = sum(measure.textbook_flop(model, asked.channels, (h, w)) for h, w in sizes)
    rows = []
    for one in compared:
        row = Row(one.name, seconds[one.name], found[one.name], compared=not one.other)
        row.facts |= rates(one, row, flop, peaks)
        rows.append(row)
    del compared, runs, textbook, reference  # free their memory
    if asked.memory and case.measured:
        add_memory(asked, device, "infer", case.measured, sizes, rows)
    title = f"{model}, VGG16, {size_text(sizes)}: scoring, one image at a time"
    note = (
        f"The textbook net takes {flop / 1e9:,.0f} GFLOP for {len(sizes)} image(s); GFLOP/s are "
        "these divided by the time, even if a candidate computes less. The fastest convolution on "
        f"this machine reaches {peaks['fp32'] / 1e9:,.0f} GFLOP/s in fp32 and "
        f"{peaks['bf16'] / 1e9:,.0f} in bf16. difference: largest difference of scores to the "
        "textbook net's, relative to the largest score."
    )
    return Table(title, rows, BASES, notes=[note])


@torch.inference_mode()
def scores_of(one: Candidate, sizes: Sequence[list[int]], device: torch.device) -> list[Tensor]:
    """Return scores (1, K, H, W) of an image of each size."""
    images = [nets.image(size, seed).to(device) for seed, size in enumerate(sizes)]
    with one.around():
        return [one.score(one.place(image)).float() for image in images]


def differences(
    one: Candidate, reference: Sequence[Tensor], sizes: Sequence[list[int]], device: torch.device
) -> dict[str, float | str | None]:
    """Return the largest difference of scores to the reference, and the fraction of new labels."""
    most, changed, pixels = 0.0, 0, 0
    if one.other:
        return {"difference": "different net", "other labels": None}
    for scores, wanted in zip(scores_of(one, sizes, device), reference, strict=True):
        most = max(most, difference(scores, wanted))
        changed += int((scores.argmax(1) != wanted.argmax(1)).sum())
        pixels += wanted[:, 0].numel()
    return {"difference": most, "other labels": f"{100 * changed / pixels:.2f} %"}


def rates(
    one: Candidate, row: Row, flop: int, peaks: dict[str, float]
) -> dict[str, float | str | None]:
    """Return FLOP/s and their fraction of this machine's fastest convolution."""
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
    """Add peak memory of the first net by candidate, each measured in a separate process."""
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
        size = found.get(row.name)
        row.facts["peak GiB"] = size and size / GIB
        row.facts[f"of {base}'s"] = size and f"{size / found[base]:.2f}"


def size_text(sizes: Sequence[Sequence[int]]) -> str:
    """Format image sizes for a title."""
    if len(sizes) == 1:
        return f"{sizes[0][0]}x{sizes[0][1]}"
    return f"{len(sizes)} sizes ({', '.join(f'{h}x{w}' for h, w in sizes)})"
