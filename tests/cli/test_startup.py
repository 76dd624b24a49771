"""What a command may import before it answers: seconds, which help and mistakes should not cost."""

import json
import os
import subprocess
import sys

import pytest

SLOW = ("torch", "torchvision", "torchmetrics", "lightning", "wandb", "matplotlib", "scipy")

# Each of these commands is run in one process, which then tells what is loaded. A test's own
# process has loaded everything.
PROGRAM = """
import json, sys
from pathlib import Path
from commands import fcnexp
slow, here = json.loads(sys.argv[1]), Path.cwd()
for command, *arguments in json.loads(sys.argv[2]):
    done = fcnexp(command, *arguments, folder=here, cache=here)
    loaded = [name for name in slow if name in sys.modules]
    print(json.dumps([command, arguments, done.returncode, (done.stdout + done.stderr), loaded]))
"""

HELP = [
    *("train", "evaluate", "predict", "explain", "prepare", "bounds", "export", "dashboard"),
    *("report", "verify"),
]
MISTAKES = {
    ("train", "model=typo"): "model=typo: no such option; choose one of ",
    ("train", "regime.lrr=1"): "regime.lrr: no such key (did you mean regime.lr?)",
    ("train", "seed=x"): "seed: Value 'x'",
    ("train", "workers=-1"): "workers=-1: must be 0 or more",
    ("train", "regime.lr=5"): "regime.lr=5: must lie between 0 and 1",
    ("train", "regime.loss.keep=2"): "regime.loss.keep=2",
    ("train", "regime.multipliers.bias=3"): "regime.multipliers.bias=3: must be a pair",
    ("train", "masking.train=left"): "masking.train=left: allowed are ",
    ("train", "trainer.precision=fp8"): "trainer.precision=fp8: allowed are auto, 32-true",
    (
        "train",
        "trainer=cpu",
        "trainer.precision=fp16",
    ): "trainer.precision=fp16: float16 needs",
    ("train", "trainer.devices=0"): "trainer.devices=0: must be 1 or more",
    ("train", "trainer.compile=fast"): "trainer.compile=fast: allowed are false, true, reduce-over",
    ("train", "dense.learned=skip"): "dense.learned=skip: allowed are none, skips, all (did you me",
    ("train", "regime.loss.reduction=max"): "regime.loss.reduction=max: allowed are mean, sum",
    ("train", "regime.sampling=random"): "regime.sampling=random: allowed are shuffle, with_",
    ("evaluate",): "checkpoint: required, but not given",
    ("predict",): "input: required, but not given",
    ("bounds", "protocol=x"): "protocol=x: choose one of bilinear, area, nearest",
    ("verify",): "give one run",
    ("report",): "no folder given",
    ("report", "gone"): "gone: no such folder",
}


def loaded_by(commands: list[tuple[str, ...]], slow: tuple[str, ...], folder) -> list:
    """Command, arguments, exit code, output and slow modules loaded by then, of each in turn."""
    tests = os.path.dirname(os.path.dirname(__file__))
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(slow), json.dumps(commands)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_help_imports_nothing_slow(tmp_path):
    for command, arguments, code, output, loaded in loaded_by(
        [(command, "--help") for command in HELP], SLOW, tmp_path
    ):
        assert code == 0 and command in output, output
        assert not loaded, (command, arguments)


def test_mistakes_in_values_import_nothing_slow(tmp_path):
    found = loaded_by(list(MISTAKES), SLOW, tmp_path)
    for command, arguments, code, output, loaded in found:
        assert code == 1 and MISTAKES[(command, *arguments)] in output, output
        assert not loaded, (command, arguments)


def test_settings_are_printed_before_anything_slow_is_imported(tmp_path):
    program = (
        "import sys; from fcnexp.reporting import run_header\n"
        f"def show(*_, **__): print([m for m in {SLOW} if m in sys.modules]); sys.exit(7)\n"
        "run_header.print_start = show; sys.argv[1:] = ['logger=csv', 'hydra.run.dir=out']\n"
        "from fcnexp.train import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 7 and done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("model.skips=[7]", "model: skips=[7]: this backbone has no tap of stride 7"),
        ("+model.depth=3", "model.depth: fcnexp.nn.fcn.SkipNet takes no such key"),
    ],
)
def test_a_net_that_cannot_be_needs_torch_but_not_lightning(tmp_path, mistake, message):
    apart = tuple(name for name in SLOW if name != "torch")
    ((_, _, code, output, loaded),) = loaded_by([("train", mistake)], apart, tmp_path)
    assert code == 1 and message in output, output
    assert not loaded
