"""Summary printed before a run starts."""

import io
from pathlib import Path
from unittest import mock

from rich.console import Console

from fcnexp.reporting import run_header
from fcnexp.reporting.run_header import print_start

REGIME = {"steps": 30, "batch_size": 2, "accumulate": 4, "lr": 2e-3, "score_every": 50}
CONFIG = {"seed": 4, "regime": REGIME, "model": {"skips": [16, 8]}, "init": {"path": None}}
CHOICES = {"trainer": "cpu", "model": "fcn8s", "regime": "quick", "init": "scratch"}
CHOICES |= {"experiment": None}
TYPED = ["model", "model.skips", "seed", "regime.steps", "init.path", "sweeps"]


def test_log_gets_one_line(capsys):
    print_start(CONFIG, CHOICES, TYPED, Path("out"))
    assert capsys.readouterr().out == (
        "model=fcn8s init=scratch regime=quick trainer=cpu model.skips=[16,8] seed=4 "
        "regime.steps=30 init.path=null\n"
    )


def test_terminal_gets_a_tree_with_typed_keys_below_their_group():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with mock.patch.object(run_header, "Console", lambda **_: console):
        print_start(CONFIG, CHOICES, TYPED, Path("out"))
    lines = console.file.getvalue().splitlines()
    assert [line.rstrip() for line in lines] == [
        "out",
        "├── model      fcn8s",
        "│   └── skips = [16,8]",
        "├── init       scratch",
        "│   └── path = null",
        "├── regime     quick: 30 steps of 8 images, rate 0.002, scored every 30",
        "│   └── steps = 30",
        "├── trainer    cpu",
        "└── seed = 4",
    ]
