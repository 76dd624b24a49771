"""Part `train`: a training step, forward to optimiser, on one 500x500 image."""

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor

from fcnexp.benching import nets
from fcnexp.benching.infer import BASES, MEASURED, add_memory, size_text
from fcnexp.benching.measure import interleaved, textbook_flop
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.train_candidates import PHASES, Learner, learner
from fcnexp.config.schema import BenchConfig

SMALL = (97, 65)  # odd sides, so that poolings round up at the border
MOST_ROUNDS = 3  # each takes half a minute
FEW = 256  # channels of fc6 and fc7 in float64, to save time


def train(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield a table of steps by candidate, then one of differences between gradients."""
    model = asked.nets[0]
    wanted = [name for name in nets.names(asked.channels) if name != nets.OTHER]
    yield steps(asked, device, model, wanted)
    yield gradient_errors(asked, device, model)


def steps(asked: BenchConfig, device: torch.device, model: str, wanted: list[str]) -> Table:
    """Seconds of a step, by candidate."""
    made = [learner(name, model, asked.channels, device) for name in wanted]
    runs = {one.candidate.name: partial(one.step, *one.example(asked.size)) for one in made}
    rounds = min(MOST_ROUNDS, asked.rounds)
    seconds = interleaved(runs, rounds, device)
    rows = []
    size = (asked.size[0], asked.size[1])
    flop = textbook_flop(model, asked.channels, size, training=True)
    for one in made:
        name = one.candidate.name
        row = Row(name, seconds[name])
        for phase in PHASES:  # without the warm-up
            row.facts[f"{phase} (ms)"] = 1000 * median(one.phases[phase][-rounds:])
        row.facts["GFLOP/s"] = flop / median(row.seconds) / 1e9
        rows.append(row)
    del made, runs
    if asked.memory:
        add_memory(asked, device, "train", MEASURED, [asked.size], rows)
    title = f"{model}, VGG16, {size_text([asked.size])}: a step of training, one image, dropout on"
    note = (
        f"The textbook net takes {flop / 1e9:,.0f} GFLOP per step, including gradients. "
        f"{nets.OURS} uses the loss and the optimiser of regime=heavy, torchfcn its own loss, the "
        "textbook net F.cross_entropy; the latter two use torch.optim.SGD with default options."
    )
    return Table(title, rows, BASES, notes=[note])


def gradient_errors(asked: BenchConfig, device: torch.device, model: str) -> Table:
    """Differences between gradients that should be equal, with dropout off."""

    def gradient(name: str, channels: int, size: Sequence[int], dtype: torch.dtype) -> Tensor:
        return flat(learner(name, model, channels, device), size, dtype)

    few, full, size = min(FEW, asked.channels), asked.channels, asked.size
    textbook, ours = (gradient(n, few, SMALL, torch.float64) for n in (nets.TEXTBOOK, nets.OURS))
    title = f"{nets.OURS} to {nets.TEXTBOOK}, float64, {size_text([SMALL])}"
    rows = [compared(title, ours, textbook)]
    del textbook, ours
    names = (nets.OURS, f"{nets.OURS}, {nets.APPROXIMATE}")
    exact, approximate = (gradient(name, full, size, torch.float32) for name in names)
    title = f"{nets.OURS}, bf16 to fp32, {size_text([size])}"
    rows.append(compared(title, approximate, exact))
    return Table(f"{model}, VGG16: gradients of all weights, dropout off", rows)


def flat(one: Learner, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Gradients of all convolutions' weights and biases as one vector, sorted by layer name."""
    net = one.candidate.net.to(dtype).eval()
    image, label = one.example(size)
    one.forward(image.to(dtype), label).backward()
    layers = nets.layers(net)
    found = [
        getattr(layers[name], key).grad.contiguous().flatten()
        for name in sorted(layers)
        for key in ("weight", "bias")
    ]
    return torch.cat(found)


def compared(name: str, mine: Tensor, reference: Tensor) -> Row:
    """Relative norm of the difference to the reference, and cosine similarity."""
    mine, reference = mine.double(), reference.double()  # float32 loses digits over 1e8 numbers
    size = reference.norm()
    facts = {
        "relative error": float((mine - reference).norm() / size),
        "cosine": f"{float((mine / mine.norm()) @ (reference / size)):.6f}",
    }
    return Row(name, facts=facts)
