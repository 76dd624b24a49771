"""Points at which trainings are interrupted, and the steps from which they resume.

Each training, or each of its stages, has 10 steps of 2 passes and validates after steps 3, 6, 9 and
10. The optimiser updates five groups of parameters, one after the other.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

Fault = Sequence[Any]  # place, visit of it, action, rank if not 0; see `killed`

WHOLE = [
    *("backbone=tiny", "backbone.widths=[4,4,6,6,8,8]", "head=fc", "head.channels=8"),  # dropout
    *("model=fcn16s", "data.num_train=7", "data.num_val=3", "data.side=[48,64]"),
    *("augment=crop", "augment.crop=44", "regime=accum", "regime.steps=10", "regime.score_every=3"),
    *("regime.batch_size=2", "regime.lr=0.3", "regime.clip=5"),
    *("regime.loss.keep=0.5", "regime.loss.cell=4", "regime.loss.balance=inverse"),
    "regime.schedule._target_=fcnexp.task.optim.polynomial",
    *("+regime.schedule.power=0.9", "+regime.schedule.warmup=1", "keep_best=true"),
    "seed=2",  # the best validation is after step 9, with two processes after step 6
    *("workers=0", "pictures=1", "logger=csv", "trainer=cpu", "hydra.run.dir=out"),
]
QUICK = [each for each in WHOLE if "schedule" not in each and "regime.lr" not in each]
VARIANTS = {
    "whole": WHOLE,
    "with replacement": [*WHOLE, "regime.sampling=with_replacement"],
    "adam": [*QUICK, "regime=quick"],
    "no batch norm": [
        *(each for each in WHOLE if "backbone" not in each and "regime.lr" not in each),
        *("backbone=googlenet", "head=fc", "model=fcn32s", "regime.lr=3e-2"),
    ],
    "staged": [*WHOLE, "init=staged", "init@init.first=scratch", "init.lr=2"],
    "workers": [*WHOLE, "workers=2"],
    "shared passes": WHOLE,
}


WHEREVER = "wherever"


def overrides(variant: str, processes: int) -> list[str]:
    """Command-line overrides. A process has two passes per step, or half the images of one."""
    shared = variant == "shared passes"
    return [
        *VARIANTS[variant],
        f"regime.accumulate={1 if shared else 2 * processes}",
        f"trainer.devices={processes}",
    ]


class Point(NamedTuple):
    """One way to interrupt a training. runs: the faults of each interrupted command.

    step: after which the last command resumes; None if it starts over, "done" if nothing is left,
    WHEREVER if it depends on timing. codes: possible exit codes of the last interrupted command, as
    in Popen. fresh: use newly started processes, as a user does, instead of forks of one that has
    imported everything.
    """

    runs: Sequence[Sequence[Fault]]
    step: int | str | None = None
    variant: str = "whole"
    codes: tuple[int, ...] = (-9,)
    fresh: bool = False


def kill(place: str, number: int = 1, *rank: int) -> list[Fault]:
    return [[place, number, "kill", *rank]]


def term(place: str, number: int = 1, *, action: str = "term") -> list[Fault]:
    return [[place, number, action]]


ASKED, BY_CTRL_C, FAILED = (143,), (130,), (1,)
SPOILT = [["loss", 15, "spoil"], ["loss", 15, "kill"]]

ONE: dict[str, Point] = {
    "before everything": Point([kill("begin")]),
    "before the first pass": Point([kill("pass")]),
    "gradient of the first pass": Point([kill("backward")]),
    "in the first step of the optimiser": Point([kill("group", 2)]),
    "between passes, before any checkpoint": Point([kill("backward", 5)]),
    "first validation starts": Point([kill("scoring")]),
    "in the first validation": Point([kill("scored", 2)]),
    "first validation ends": Point([kill("scores")]),
    "half of the first best.ckpt": Point([kill("half")]),
    "half of the first checkpoint": Point([kill("half", 2)]),
    "first checkpoint has no name": Point([kill("before last.ckpt")]),
    "first checkpoint has its name": Point([kill("after last.ckpt")], 3),
    "between passes, after a checkpoint": Point([kill("loss", 9)], 3),
    "in a step of the optimiser, after a checkpoint": Point([kill("group", 23)], 3),
    "second validation starts": Point([kill("scoring", 2)], 3),
    "in the second validation": Point([kill("image", 5)], 3),
    "second validation ends": Point([kill("scores", 2)], 3),
    "metrics.csv gets a new column": Point([kill("line of metrics.csv", 7)], 9),
    "in metrics.csv": Point([kill("line of metrics.csv", 3)], 3),
    "second best.ckpt has no name": Point([kill("before best.ckpt", 2)], 3),
    "half of the second checkpoint": Point([kill("half", 4)], 3),
    "digest has no name": Point([kill("before SHA256SUMS", 4)], 3),
    "digest is written, checkpoint is not": Point([kill("after SHA256SUMS", 4)], 3),
    "last is renamed to previous": Point([kill("after previous.ckpt")], 3),
    "second checkpoint has its name": Point([kill("after last.ckpt", 2)], 6),
    "last pass": Point([kill("backward", 20)], 9),
    "in the validation after the last step": Point([kill("scored", 11)], 9),
    "half of the last checkpoint": Point([kill("half", 7)], 9),
    "last checkpoint has its name": Point([kill("after last.ckpt", 4)], 10),
    "in the pictures": Point([kill("picture", 2)], 10),
    "half of images.npz": Point([kill("half of images.npz")], 10),
    "images.npz has no name": Point([kill("before images.npz")], 10),
    "images.npz has its name": Point([kill("after images.npz")], 10),
    "disk full in images.npz": Point([term("half of images.npz", action="full")], 10, codes=FAILED),
    "in confusion.csv": Point([kill("line of confusion.csv", 4)], 10),
    "result.json has no name": Point([kill("before result.json")], 10),
    "result.json has its name": Point([kill("after result.json")], "done"),
    "twice": Point([kill("backward", 13), kill("scored", 2)], 6),
    "twice before any progress": Point([kill("loss", 13), kill("load")], 6),
    "four times": Point([kill("loss", 4), kill("loss", 9), kill("half", 2), kill("group", 4)], 3),
    "checkpoint damaged": Point([SPOILT], 3),
    "SIGTERM between passes": Point([term("backward", 9)], 5, codes=ASKED),
    "SIGTERM in the first step": Point([term("loss", 1)], 1, codes=ASKED),
    "SIGTERM in a step of the optimiser": Point([term("group", 23)], 5, codes=ASKED),
    "SIGTERM in a validation": Point([term("scored", 2)], 3, codes=ASKED),
    "SIGTERM in the last step": Point([term("backward", 19)], 10, codes=ASKED),
    "SIGTERM in the validation after it": Point([term("scored", 11)], 10, codes=ASKED),
    "Ctrl-C in the validation after it": Point(
        [term("scored", 11, action="ctrl-c")], 10, codes=BY_CTRL_C
    ),
    "SIGTERM while it saves": Point([term("half", 4)], 6, codes=ASKED),
    "SIGTERM, then killed while it saves": Point([[*term("loss", 9), *kill("half", 3)]], 3),
    "SIGTERM twice": Point([[*term("loss", 15), *term("backward", 15)]], 6, codes=ASKED),
    "SIGTERM, then killed after resuming": Point([term("loss", 9), kill("loss", 4)], 6),
    "Ctrl-C between passes": Point([term("loss", 9, action="ctrl-c")], 5, codes=BY_CTRL_C),
    "Ctrl-C in a validation": Point([term("image", 5, action="ctrl-c")], 6, codes=BY_CTRL_C),
    "image cannot be read": Point([term("read", 17, action="error")], 3, codes=FAILED),
    "disk full in a checkpoint": Point([term("half", 4, action="full")], 3, codes=FAILED),
    "disk full in the first checkpoint": Point([term("half", 2, action="full")], codes=FAILED),
    "disk full in metrics.csv": Point(
        [term("line of metrics.csv", 3, action="full")], 3, codes=FAILED
    ),
    "disk full in the result": Point(
        [term("line of confusion.csv", 4, action="full")], 10, codes=FAILED
    ),
    "two workers": Point([kill("loss", 9)], 3, "workers"),
    "two workers, in a validation": Point([kill("image", 5)], 3, "workers"),
    "two workers, image cannot be read": Point(
        [term("read", 9, action="error")], 3, "workers", FAILED
    ),
    "two workers, one is killed": Point([kill("read", 9)], WHEREVER, "workers", FAILED),
    "two workers, SIGTERM": Point([term("loss", 9)], 5, "workers", ASKED),
    "two workers, SIGTERM to all": Point([term("loss", 9, action="term all")], 5, "workers", ASKED),
    "two workers, Ctrl-C in a validation": Point(
        [term("image", 5, action="ctrl-c")], 6, "workers", BY_CTRL_C
    ),
    "two workers, Ctrl-C": Point([term("loss", 9, action="ctrl-c")], 5, "workers", BY_CTRL_C),
    "with replacement": Point([kill("backward", 15)], 6, "with replacement"),
    "with replacement, SIGTERM": Point([term("loss", 9)], 5, "with replacement", ASKED),
    "adam": Point([kill("backward", 15)], 6, "adam"),
    "no batch norm": Point([kill("backward", 9)], 3, "no batch norm"),
    "no batch norm, SIGTERM": Point([term("group", 9)], 3, "no batch norm", ASKED),
    "in the first stage": Point([kill("backward", 13)], 6, "staged"),
    "between stages": Point([kill("begin", 2)], None, "staged"),
    "second stage loads the first": Point([kill("load", 1)], None, "staged"),
    "second stage, first passes": Point([kill("backward", 23)], None, "staged"),
    "second stage, after a checkpoint": Point([kill("loss", 29)], 3, "staged"),
    "second stage, half a checkpoint": Point([kill("half", 10)], 3, "staged"),
    "second stage, SIGTERM": Point([term("loss", 29)], 5, "staged", ASKED),
    "in both stages": Point([kill("loss", 9), kill("loss", 24)], 3, "staged"),
    "as a user starts it": Point([kill("backward", 13)], 6, fresh=True),
}

EITHER = (1, -9)  # rank 0 reports that another has ended, unless Lightning kills it first

TWO: dict[str, Point] = {
    "before everything": Point([kill("begin")]),
    "second, before everything": Point([kill("begin", 1, 1)], codes=EITHER),
    "before the first pass": Point([kill("pass")]),
    "second, before the first pass": Point([kill("pass", 1, 1)], codes=EITHER),
    "both, before the first pass": Point([term("pass", action="kill all")]),
    "gradient of the first pass": Point([kill("backward")]),
    "second, in the first step of the optimiser": Point([kill("group", 2, 1)], codes=EITHER),
    "between passes, before any checkpoint": Point([kill("backward", 5)]),
    "second, first validation starts": Point([kill("scoring", 1, 1)], codes=EITHER),
    "in the first validation": Point([kill("scored")]),
    "second, first validation ends": Point([kill("scores", 1, 1)], WHEREVER, codes=EITHER),
    "half of the first best.ckpt": Point([kill("half")]),
    "half of the first checkpoint": Point([kill("half", 2)]),
    "first checkpoint has no name": Point([kill("before last.ckpt")]),
    "first checkpoint has its name": Point([kill("after last.ckpt")], 3),
    "second, after a checkpoint": Point([kill("loss", 7, 1)], 3, codes=EITHER),
    "between passes, after a checkpoint": Point([kill("loss", 9)], 3),
    "second, between passes": Point([kill("backward", 15, 1)], 6, codes=EITHER),
    "both, between passes": Point([term("backward", 15, action="kill all")], 6),
    "in a step of the optimiser": Point([kill("group", 23)], 3),
    "second, in a step of the optimiser": Point([kill("group", 23, 1)], 3, codes=EITHER),
    "both, in a step of the optimiser": Point([term("group", 23, action="kill all")], 3),
    "second, in the second validation": Point([kill("image", 2, 1)], 3, codes=EITHER),
    "second validation ends": Point([kill("scores", 2)], 3),
    "half of the second checkpoint": Point([kill("half", 4)], 3),
    "both, in the second checkpoint": Point([term("half", 4, action="kill all")], 3),
    "digest is written, checkpoint is not": Point([kill("after SHA256SUMS", 4)], 3),
    "last is renamed to previous": Point([kill("after previous.ckpt")], 3),
    "last pass": Point([kill("backward", 20)], 9),
    "second, last pass": Point([kill("backward", 20, 1)], 9, codes=EITHER),
    "in the validation after the last step": Point([kill("scored", 7)], 9),
    "second, in the validation after the last step": Point([kill("scored", 4, 1)], 9, codes=EITHER),
    "half of the last checkpoint": Point([kill("half", 6)], 9),
    "in the pictures": Point([kill("picture", 2)], 10),
    "half of images.npz": Point([kill("half of images.npz")], 10),
    "images.npz has its name": Point([kill("after images.npz")], 10),
    "result.json has no name": Point([kill("before result.json")], 10),
    "result.json has its name": Point([kill("after result.json")], "done"),
    "one, then the other": Point([kill("backward", 13), kill("loss", 3, 1)], 6, codes=EITHER),
    "checkpoint damaged": Point([SPOILT], 3),
    "SIGTERM between passes": Point([term("backward", 9)], 5, codes=ASKED),
    "SIGTERM in a step of the optimiser": Point([term("group", 23)], 5, codes=ASKED),
    "SIGTERM in a validation": Point([term("scored")], 3, codes=ASKED),
    "SIGTERM in the last step": Point([term("loss", 20)], 10, codes=ASKED),
    "SIGTERM in the validation after it": Point([term("scored", 7)], 10, codes=ASKED),
    "Ctrl-C in the validation after it": Point(
        [term("scored", 7, action="ctrl-c")], 10, codes=BY_CTRL_C
    ),
    "SIGTERM to both": Point([term("backward", 9, action="term all")], 5, codes=ASKED),
    "SIGTERM, then killed while it saves": Point([[*term("loss", 9), *kill("half", 3)]], 3),
    "SIGTERM, then the second is killed": Point(
        [[*term("loss", 13), *kill("pass", 14, 1)]], 6, codes=EITHER
    ),
    "Ctrl-C between passes": Point([term("loss", 9, action="ctrl-c")], 5, codes=BY_CTRL_C),
    "Ctrl-C in a validation": Point([term("image", 3, action="ctrl-c")], 6, codes=BY_CTRL_C),
    "image cannot be read": Point([term("read", 17, action="error")], 3, codes=FAILED),
    "second cannot read an image": Point([[["read", 17, "error", 1]]], 3, codes=EITHER),
    "disk full in a checkpoint": Point([term("half", 4, action="full")], 3, codes=FAILED),
    "shared passes": Point([kill("backward", 5)], 3, "shared passes"),
    "shared passes, second": Point([kill("backward", 5, 1)], 3, "shared passes", EITHER),
    "shared passes, SIGTERM": Point([term("loss", 5)], 5, "shared passes", ASKED),
    "with replacement": Point([kill("backward", 15)], 6, "with replacement"),
    "two workers each": Point([kill("loss", 9)], 3, "workers"),
    "two workers each, Ctrl-C": Point([term("loss", 9, action="ctrl-c")], 5, "workers", BY_CTRL_C),
    "between stages": Point([kill("begin", 2)], None, "staged"),
    "second stage, second process": Point([kill("loss", 29, 1)], 3, "staged", EITHER),
    "as a user starts it": Point([kill("backward", 13)], 6, fresh=True),
    "as a user starts it, second": Point([kill("loss", 13, 1)], 6, codes=EITHER, fresh=True),
    "as a user starts it, SIGTERM": Point([term("loss", 9)], 5, codes=ASKED, fresh=True),
}
