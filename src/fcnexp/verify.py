"""Repeat a finished training: `python -m fcnexp.verify RUN [again=scores]`.

First compares the run's certificate with what is there now: settings, code, packages, hardware,
data and weights, each difference under its cause. Then computes again, and says whether the numbers
are equal, within a tolerance, or where they part.

again: `scores` (default) scores the last checkpoint again, on the same data, and compares the
    counts of all pixels; a number trains that many steps again, from the start, and compares the
    losses; `whole` trains to the end and compares losses and counts; `nothing` only compares.
    Training calls the parts that the run's config names: only for runs that you trust.
within: percentage points by which the mean IU may differ, or percent of the loss; 0, the default,
    asks for the same counts and losses.
"""

import csv
import math
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fcnexp import __version__
from fcnexp.errors import ConfigError, DataError

OPTIONS = ("again", "within")
WAYS = ("scores", "whole", "nothing")
LOSS, STEP = "train/loss", "step"
LOOK_SECONDS = 0.5  # between looks at the losses of a training that runs
WAIT_SECONDS = 300.0  # for a training that was told to stop


class Asked(NamedTuple):
    """What to verify. again: one of WAYS, or a number of steps. within: percentage points."""

    run: Path
    again: str
    within: float


def verify(asked: Asked) -> bool:
    """Compare, compute again, and print the answer; True if the numbers are repeated."""
    from fcnexp.reporting.records import CONFIG
    from fcnexp.run import causes, certificate, run_folder

    recorded = certificate.read(asked.run)
    config = run_folder.stored_config(asked.run)
    if config is None:
        raise DataError(f"{asked.run}: no {CONFIG}; the certificate alone cannot be repeated")
    found = causes.causes_since(recorded, asked.run, config)
    for cause in found:
        print(f"{cause.kind:<11} {cause.text}")
    if not found:
        print("settings, code, packages, hardware, data and weights are those of the run")
    if asked.again == "nothing":
        return not found
    with tempfile.TemporaryDirectory(prefix="fcnexp-verify-") as folder:
        again = Path(folder) / "run"
        answers = [score_again, train_again][asked.again != "scores"](asked, again, recorded)
    print("\n".join(answers.lines))
    if not answers.same and not found:
        print("no recorded cause; the run may have used operations that torch cannot repeat")
    return answers.same


class Answer(NamedTuple):
    """What was computed again, in words, and whether it is the same."""

    same: bool
    lines: list[str]


def score_again(asked: Asked, folder: Path, recorded: dict[str, Any]) -> Answer:
    """Score the last checkpoint again and compare the counts."""
    from fcnexp.system.checkpoint_store import LAST

    checkpoint = asked.run / "checkpoints" / LAST
    if not checkpoint.is_file():
        raise DataError(f"{checkpoint}: gone; again=whole trains without it")
    run_python(
        ["evaluate", f"checkpoint={checkpoint}", "pictures=0", f"hydra.run.dir={folder}"], recorded
    )
    return compare_counts(asked, folder)


def train_again(asked: Asked, folder: Path, recorded: dict[str, Any]) -> Answer:
    """Train again from the stored config, whole or for some steps, and compare."""
    steps = None if asked.again == "whole" else int(asked.again)
    config = [f"--config-path={asked.run.absolute()}", "--config-name=config"]
    folder_of_run = [f"hydra.run.dir={folder}", "logger.wandb=null", "dry_run=false"]
    run_python(["train", *config, *folder_of_run], recorded, until=(folder, steps))
    losses = compare_losses(asked, folder, steps)
    if steps is not None:
        return losses
    counts = compare_counts(asked, folder)
    return Answer(losses.same and counts.same, [*losses.lines, *counts.lines])


def compare_counts(asked: Asked, folder: Path) -> Answer:
    """Compare the confusion matrices of all tasks."""
    from fcnexp.reporting.records import further_tasks, read_confusion, read_result

    lines, same = [], True
    for task in ("", *further_tasks(asked.run)):
        pair = [read_confusion([run / task]) for run in (asked.run, folder)]
        if None in pair:
            raise DataError(f"{asked.run / task}: no confusion.csv; there is nothing to compare")
        name = f"{task}: " if task else ""
        before, after = ([n for row in each.counts for n in row] for each in pair if each)
        moved = sum(abs(a - b) for a, b in zip(before, after, strict=True)) / 2
        if not moved:
            lines.append(f"{name}equal: the same counts of all {sum(before):,} pixels")
            continue
        results = [read_result(run) for run in (asked.run, folder)]
        ious = [100 * (r["tasks"][task] if task else r)["scores"]["miou"] for r in results]
        near = 0 < asked.within >= abs(ious[1] - ious[0])
        same &= near
        lines.append(
            f"{name}{'within the tolerance' if near else 'different'}: mean IU {ious[0]:.2f} -> "
            f"{ious[1]:.2f} %, {moved:,.0f} of {sum(before):,} pixels counted elsewhere"
        )
    return Answer(same, lines)


def compare_losses(asked: Asked, folder: Path, steps: int | None) -> Answer:
    """Compare the logged losses step by step, up to `steps` if given."""
    before, after = (losses_of(run) for run in (asked.run, folder))
    common = [step for step in before if step in after and (steps is None or step <= steps)]
    if not common:
        first = min(before, default=None)
        more = "it logged none" if first is None else f"the first is of step {first}"
        raise DataError(f"{asked.run}: no losses of the same steps to compare; {more}")
    parted = [step for step in common if before[step] != after[step]]
    if not parted:
        return Answer(
            True, [f"equal: the same loss at all {len(common)} logged steps to {common[-1]}"]
        )
    worst = max(abs(after[step] / before[step] - 1) for step in parted if before[step]) * 100
    near = worst <= asked.within
    first = parted[0]
    word = "within the tolerance" if near else "different"
    return Answer(
        near,
        [
            f"{word}: the losses part at step {first}, {before[first]:.6g} -> {after[first]:.6g}, "
            f"and by up to {worst:.2g} %"
        ],
    )


def losses_of(run: Path) -> dict[int, float]:
    """Logged losses by step, of a run that may have been interrupted and resumed."""
    found: dict[int, float] = {}
    for path in sorted(run.glob("metrics*.csv")):
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                if line.get(LOSS):
                    found[int(line[STEP])] = float(line[LOSS])
    return dict(sorted(found.items()))


def run_python(
    command: Sequence[str], recorded: dict[str, Any], until: tuple[Path, int | None] | None = None
) -> None:
    """Run one of our commands with the threads of the run; raises DataError if it fails.

    until: a run's folder and the step after which it is stopped.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(recorded["machine"].get("threads") or 1)}
    line = [sys.executable, "-m", f"fcnexp.{command[0]}", *command[1:]]
    print(f"again     {shlex.join(['python', *line[1:]])}", flush=True)
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(line, env=environment, stdout=output, stderr=output)
        stopped = wait(process, until)
        if process.returncode and not stopped:
            output.seek(0)
            last = (output.read().strip().splitlines() or ["nothing was printed"])[-1]
            raise DataError(f"{command[0]} ended with {process.returncode}: {last}")


def wait(process: subprocess.Popen[bytes], until: tuple[Path, int | None] | None) -> bool:
    """Wait for a process; True if it was stopped after a step."""
    folder, steps = until or (Path(), None)
    try:
        while process.poll() is None:
            if steps is not None and max(losses_of(folder), default=0) >= steps:
                process.send_signal(signal.SIGTERM)
                process.wait(WAIT_SECONDS)
                return True
            time.sleep(LOOK_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
    return False


def read_arguments(arguments: Sequence[str]) -> Asked:
    """What the command line asks for. Raises ConfigError."""
    from fcnexp.config.values import did_you_mean

    runs: list[str] = []
    options = {"again": "scores", "within": "0"}
    for argument in arguments:
        name, given, value = argument.partition("=")
        if not given or Path(argument).is_dir():
            runs.append(argument)
        elif name not in OPTIONS:
            near = did_you_mean(name, OPTIONS)
            raise ConfigError(f"{name}: no such option{near}; choose one of {', '.join(OPTIONS)}")
        else:
            options[name] = value
    if len(runs) != 1:
        raise ConfigError("give one run, as in python -m fcnexp.verify outputs/train/DATE")
    again, run = options["again"], Path(runs[0]).expanduser()
    if again not in WAYS and not (again.isdigit() and int(again) > 0):
        raise ConfigError(
            f"again={again}: must be one of {', '.join(WAYS)}, or a number of steps, such as "
            "again=100"
        )
    try:
        within = float(options["within"])
    except ValueError:
        within = math.nan
    if not 0 <= within < math.inf:
        raise ConfigError(f"within={options['within']}: must be a number from 0, such as 0.1")
    if not run.is_dir():
        raise ConfigError(f"{run}: no such folder; give one that train wrote")
    return Asked(run, again, within)


def main() -> None:
    """Entry point; exit code 1 if the numbers are not repeated."""
    from fcnexp.cli import messages

    if {"-h", "--help", "--version"} & set(sys.argv[1:]):
        print(f"fcnexp {__version__}" if "--version" in sys.argv[1:] else __doc__)
        return
    try:
        same = verify(read_arguments(sys.argv[1:]))
    except Exception as error:
        messages.fail_or_raise(error, "verify")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
