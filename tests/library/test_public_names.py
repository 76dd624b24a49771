"""The names of `fcnexp` itself: imported on first use, and typed."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fcnexp

SOURCE = Path(fcnexp.__file__)
SLOW = ("torch", "numpy", "lightning", "omegaconf", "hydra", "torchmetrics", "yaml", "PIL")
LAZY = sorted(set(fcnexp.__all__) - {"VOID", "__version__"})

# Imported one by one in a new process, since this one has loaded everything.
PROGRAM = """
import json, sys, fcnexp
first = sorted({name.partition(".")[0] for name in sys.modules})
assert set(fcnexp.__all__) <= set(dir(fcnexp))
found = {name: getattr(fcnexp, name).__module__ for name in json.loads(sys.argv[1])}
from fcnexp import build, network
assert network is build.network
print(json.dumps([first, found]))
"""


def homes() -> dict[str, str]:
    """Module of each name, as type checkers are told."""
    (block,) = [
        node
        for node in ast.parse(SOURCE.read_text()).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    ]
    return {alias.name: str(line.module) for line in block.body for alias in line.names}


def test_nothing_is_imported_until_a_name_is_used():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(LAZY)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first, found = json.loads(done.stdout)
    assert not set(SLOW) & set(first)
    assert found == homes(), "what runs and what type checkers are told differ"


def test_every_name_has_a_docstring():
    for name in LAZY:
        assert getattr(fcnexp, name).__doc__, name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'fcnexp' has no attribute 'lod'"):
        fcnexp.lod  # noqa: B018


# What a program of somebody's own does, with the types that it expects; and lines that are wrong.
TYPED = """
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import fcnexp

net: fcnexp.TrainedNet = fcnexp.load("last.ckpt", device="cpu")
label: NDArray[Any] = net.label(np.zeros((4, 5, 3), np.uint8))
scores: NDArray[np.float32] = net.scores(np.zeros((4, 5, 3), np.uint8))
every: dict[str, NDArray[Any]] = net.label_tasks(np.zeros((4, 5, 3), np.uint8))
names: tuple[str, ...] = net.class_names
fcn: torch.nn.Module = fcnexp.network(["model=fcn8s"])
data: fcnexp.SegmentationData = fcnexp.data_module(("data=shapes",))
recipe: fcnexp.InputRecipe = fcnexp.input_recipe(["modality=rgb"])
batch: fcnexp.Batch = next(iter(data.train_dataloader()))
inputs: dict[str, torch.Tensor] = recipe.apply(batch.fields, batch.sizes)
metric = fcnexp.SegmentationScores(3)
found: dict[str, float] = metric.compute()
iu: torch.Tensor = fcnexp.class_iu(metric.matrix)
record = fcnexp.RunRecord(["a", "b"])
record.add("x", np.zeros((2, 2), np.int64), [[0, 1], [1, 255]])
record.write("runs/a", {"net": "mine", "seed": 0}, {"parameters": 3})
fcnexp.write_report(["runs"], without="absent")
error: type[fcnexp.UserError] = fcnexp.DataError
void: int = fcnexp.VOID
"""
WRONG = {
    "fcnexp.lod('x')": "attr-defined",
    "fcnexp.load(3)": "arg-type",
    "record.write('a', {'net': object()})": "dict-item",
    "text: str = metric.compute()": "assignment",
    "fcnexp.network(['model=fcn8s']).score_all()": "operator|attr-defined",
    "fcnexp.data_module(3)": "arg-type",
}


@pytest.mark.slow
def test_strict_types_from_outside(tmp_path):
    """Types one program with mypy --strict; the package's own lines are not reported."""
    (tmp_path / "own.py").write_text(TYPED + "\n".join(WRONG) + "\n")
    assert (SOURCE.parent / "py.typed").is_file()
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "own.py"]
    command += ["--show-error-codes", "--no-error-summary", f"--cache-dir={tmp_path}/cache"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(SOURCE.parents[1])},
        capture_output=True,
        text=True,
    )
    first = TYPED.count("\n") + 1
    found = dict(line.split(":", 2)[1:] for line in done.stdout.splitlines() if ": error" in line)
    assert sorted(map(int, found)) == list(range(first, first + len(WRONG))), done.stdout
    for number, kinds in enumerate(WRONG.values(), start=first):
        assert any(f"[{kind}]" in found[str(number)] for kind in kinds.split("|")), done.stdout
