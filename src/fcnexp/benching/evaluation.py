"""Part `eval`: evaluation of photographs from files to mean IU, and counting alone."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from statistics import mean
from typing import Any

import torch
from torch.utils.data import Subset

from fcnexp import VOID
from fcnexp.benching import nets, plain_loop
from fcnexp.benching.infer import BASES
from fcnexp.benching.measure import interleaved
from fcnexp.benching.photographs import Photographs, photographs, write_list
from fcnexp.benching.tables import Row, Table
from fcnexp.benching.train_candidates import our_task
from fcnexp.config.schema import BenchConfig

TURNS = 3  # parts that the photographs are split into, so that there are several samples
WARM_UP = 2  # photographs
LABEL = (375, 500)  # height and width of the label maps counted
TIMES = 10  # label maps counted per round
OURS = {  # overrides of `evaluate`
    nets.PLAIN: ["trainer.precision=32-true", "plain=[all]"],
    nets.OURS: ["trainer.precision=32-true"],
    f"{nets.OURS}, {nets.APPROXIMATE}": ["trainer.precision=bf16"],
}
COUNTERS = ("torchmetrics", "torchmetrics, validate_args=False", nets.OURS)


def evaluate(asked: BenchConfig, device: torch.device) -> Iterator[Table]:
    """Yield a table of evaluations, then one of counting."""
    with photographs(asked) as found:
        yield evaluations(asked, device, found)
    yield counting(asked, device)


def evaluations(asked: BenchConfig, device: torch.device, found: Photographs) -> Table:
    """Seconds to score photographs by candidate; all score the same photographs in each turn."""
    model, turns = asked.nets[0], min(TURNS, asked.rounds, len(found.voc_ids))
    dealt = [list(range(i, len(found.voc_ids), turns)) for i in range(turns)]
    base = next(name for name in BASES if name in nets.names(asked.channels))
    ious: dict[str, list[float]] = {}

    def in_turn(name: str, score: Callable[[list[int]], float]) -> Callable[[], None]:
        parts = chain([dealt[0][:WARM_UP]], dealt)
        ious[name] = []
        return lambda: ious[name].append(score(next(parts)))

    data = plain_loop.voc(found)
    other = nets.build(base, model, asked.channels).to(device)
    runs = {
        base: in_turn(base, lambda part: plain_loop.validate(other, Subset(data, part), device))
    }
    for name, chosen in OURS.items():  # each on a separate net, see `nets.candidates`
        score = our_validation(our_task(model, asked.channels), found, device, chosen)
        runs[name] = in_turn(name, score)
    seconds = interleaved(runs, turns, device)
    rows = [
        Row(name, seconds[name], {"mean IU of the turns (%)": 100 * mean(found_ious[1:])})
        for name, found_ious in ious.items()
    ]
    title = (
        f"{model}, VGG16: {len(found.voc_ids)} {found.description}, scored in {turns} turns, from "
        "files to mean IU"
    )
    note = (
        f"Batch size 1. {base} runs the loop of torchfcn.trainer.Trainer.validate without its "
        f"pictures, log and checkpoint; {nets.OURS} runs that of `python -m fcnexp.evaluate`, with "
        "its default number of workers."
    )
    return Table(title, rows, (base,), len(found.voc_ids) / turns, [note])


def our_validation(
    task: Any, found: Photographs, device: torch.device, chosen: list[str]
) -> Callable[[list[int]], float]:
    """Return a function that scores photographs, given by index, as `evaluate`: to the mean IU."""
    from fcnexp import build
    from fcnexp.config.checks import without_fast_paths
    from fcnexp.config.compose import compose_run
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.run import trainers
    from fcnexp.task.module import SegmentationTask
    from fcnexp.task.scores import scores_of

    machine = "gpu" if device.type == "cuda" else "cpu"

    def score(part: list[int]) -> float:
        name = f"part{part[0]}_{len(part)}"
        ids = [found.voc_ids[i] for i in part]
        write_list(found.voc / "ImageSets" / "Segmentation", name, ids)
        asked = [f"trainer={machine}", *chosen, "checkpoint=none"]
        asked += ["data=voc", f"data.root={found.voc}", f"data.val_split={name}"]
        cfg = compose_run(asked, "evaluate")
        fields = tuple(task.recipe.fields)
        data = SegmentationData.for_scoring(build.part(cfg, "data"), fields, cfg.workers)
        data.setup("validate")
        one = SegmentationTask(task.net, task.recipe, task.class_names).eval()
        trainer = trainers.build_scorer(cfg, "32-true")
        with without_fast_paths(cfg):
            trainer.validate(one, data, verbose=False)
        return scores_of(one.matrix)["miou"]

    return score


def counting(asked: BenchConfig, device: torch.device) -> Table:
    """Seconds to count label maps into a confusion matrix, and a check that the counts agree."""
    from torchmetrics.classification import MulticlassConfusionMatrix

    from fcnexp.task.scores import SegmentationScores

    generator, classes = torch.Generator().manual_seed(0), plain_loop.NUM_CLASSES
    truth = torch.randint(0, classes, (1, *LABEL), generator=generator)
    prediction = torch.where(
        torch.rand(1, *LABEL, generator=generator) < 0.7, truth, truth.roll(1, 2)
    ).to(device)
    truth[:, ::10] = VOID
    label, truth = truth.to(torch.uint8).to(device), truth.to(device)
    theirs = [
        MulticlassConfusionMatrix(classes, ignore_index=VOID, validate_args=checked).to(device)
        for checked in (True, False)
    ]
    ours = SegmentationScores(classes).to(device)
    counters = dict(zip(COUNTERS, (*theirs, ours), strict=True))

    def count(counter: Any) -> None:
        for _ in range(TIMES):
            counter.update(prediction, label if counter is ours else truth)

    runs = {name: partial(count, counter) for name, counter in counters.items()}
    seconds = interleaved(runs, 4 * asked.rounds, device)
    rows = []
    for name, counter in counters.items():
        matrix: Any = ours.matrix if counter is ours else counter.confmat
        equal = "yes" if torch.equal(matrix.cpu(), ours.matrix.cpu()) else "no"
        rows.append(Row(name, [one / TIMES for one in seconds[name]], {"same counts": equal}))
    title = f"Confusion matrix of one label map {LABEL[0]}x{LABEL[1]}, {classes} classes, void"
    return Table(title, rows, COUNTERS[:2])
