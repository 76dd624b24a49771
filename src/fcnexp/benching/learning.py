"""Part `train`: one step of training, forward to optimiser, one image of 500x500 a step."""

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor

from fcnexp.benching import nets, work
from fcnexp.benching.infer import BASES, MEASURED, add_memory, words
from fcnexp.benching.measure import interleaved
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.train_candidates import PHASES, Learner, learners
from fcnexp.config.schema import BenchConfig

SMALL = (97, 65)  # odd sides: what rounding up does to borders is in it
MOST_ROUNDS = 3  # each takes half a minute
FEW = 256  # channels of fc6 and fc7 in float64, so that it takes seconds


def train(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """A table of steps by candidate, then one of how far gradients are apart."""
    model = asked.nets[0]
    wanted = [name for name in nets.names(asked.channels) if name != nets.OTHER]
    yield steps(asked, device, model, wanted)
    yield apart(asked, device, model)


def steps(asked: BenchConfig, device: torch.device, model: str, wanted: list[str]) -> Table:
    """Seconds of a step, by candidate."""
    made = learners(wanted, model, asked.channels, device)
    ways = {one.candidate.name: partial(one.step, *one.example(asked.size)) for one in made}
    rounds = min(MOST_ROUNDS, asked.rounds)
    seconds = interleaved(ways, rounds, device)
    rows = []
    size = (asked.size[0], asked.size[1])
    flop = work.textbook_flop(model, asked.channels, size, training=True)
    for one in made:
        name = one.candidate.name
        row = Row(name, seconds[name])
        for phase in PHASES:  # without the warm-up
            row.facts[f"{phase} (ms)"] = 1000 * median(one.phases[phase][-rounds:])
        row.facts["GFLOP/s"] = flop / median(row.seconds) / 1e9
        rows.append(row)
    del made, ways
    if asked.memory:
        add_memory(asked, device, "train", MEASURED, [asked.size], rows)
    title = f"{model}, VGG16, {words([asked.size])}: a step of training, one image, dropout on"
    note = (
        f"The textbook net takes {flop / 1e9:,.0f} GFLOP a step, gradients included. {nets.OURS} "
        "has the loss and the optimiser of regime=heavy, torchfcn its own loss, the textbook "
        "F.cross_entropy; both of these torch.optim.SGD as it comes."
    )
    return Table(title, rows, BASES, notes=[note])


def apart(asked: BenchConfig, device: torch.device, model: str) -> Table:
    """How far gradients are from others that should be equal, dropout off."""
    exact = learners([nets.TEXTBOOK, nets.OURS], model, min(FEW, asked.channels), device)
    textbook, ours = (flat(one, SMALL, torch.float64) for one in exact)
    rows = [compared(f"{nets.OURS} to {nets.TEXTBOOK}, float64, {words([SMALL])}", ours, textbook)]
    del exact, textbook, ours
    approximate = f"{nets.OURS}, {nets.APPROXIMATE}"
    pair = learners([nets.OURS, approximate], model, asked.channels, device)
    full, half = (flat(one, asked.size, torch.float32) for one in pair)
    rows.append(compared(f"{nets.OURS}, bf16 to fp32, {words([asked.size])}", half, full))
    return Table(f"{model}, VGG16: gradients of all weights, dropout off", rows)


def flat(one: Learner, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Gradients of all convolutions' weights and biases in one row, in the original order."""
    net = one.candidate.net.to(dtype).eval()
    image, label = one.example(size)
    one.gradients(image.to(dtype), label)
    layers = nets.layers(net)
    found = [
        getattr(layers[name], key).grad.contiguous().flatten()
        for name in sorted(layers)
        for key in ("weight", "bias")
    ]
    return torch.cat(found)


def compared(name: str, mine: Tensor, reference: Tensor) -> Row:
    """Norm of the difference to the reference's, and the cosine between both."""
    mine, reference = mine.double(), reference.double()  # float32 loses digits over 1e8 numbers
    size = reference.norm()
    facts = {
        "relative error": float((mine - reference).norm() / size),
        "cosine": f"{float((mine / mine.norm()) @ (reference / size)):.6f}",
    }
    return Row(name, facts=facts)
