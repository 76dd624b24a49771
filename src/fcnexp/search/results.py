"""What a search has found: printed, and written into the folder `search` of the sweep."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fcnexp.search.methods import DIRECTIONS, shown_value
from fcnexp.search.studies import WARM, best_of
from fcnexp.system.atomic import write_atomically
from fcnexp.system.visible import visible

FOLDER, TRIALS, BEST = "search", "trials.csv", "best.yaml"
SHOWN = 10  # trials in the printed table


def write(study: optuna.Study, folder: Path, objectives: Sequence[str]) -> bool:
    """Print the best trials, and write all with pictures; return False if none has finished.

    trials.csv has a line for each trial, best.yaml the best one, or those that no other beats.
    """
    from fcnexp.search.pictures import draw

    best = best_of(study)
    trials = study.get_trials(deepcopy=False)
    target = folder / FOLDER
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(target / TRIALS, _csv(trials, objectives))
    if not best:
        return False
    content = [
        {"values": dict(zip(objectives, trial.values, strict=True)), "settings": trial.params}
        | {"folder": trial.user_attrs.get("folder")}
        for trial in best
    ]
    write_atomically(target / BEST, yaml.safe_dump(content, sort_keys=False))
    _print(trials, best, objectives)
    drawn = draw(study, target, objectives)
    print(f"all trials and {len(drawn)} plots: {target}")
    return True


def _csv(trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> str:
    """One line per trial; a pruned trial has its last mean IU and its step."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", *objectives, *names, "step", "seconds", "folder"])
    for trial in trials:
        seconds = trial.duration.total_seconds() if trial.duration else None
        step, miou = max(trial.intermediate_values.items(), default=(None, None))
        values = trial.values or [miou] + [None] * len(objectives)
        line = [trial.number, state_of(trial), *values[: len(objectives)]]
        line += [trial.params.get(name) for name in names]
        line += [step, seconds, trial.user_attrs.get("folder")]
        writer.writerow(["" if value is None else value for value in line])
    return text.getvalue()


def state_of(trial: FrozenTrial) -> str:
    """State of a trial in the words of the ledger."""
    words = {TrialState.COMPLETE: "done", TrialState.FAIL: "failed", TrialState.RUNNING: "open"}
    words |= {TrialState.WAITING: "open", TrialState.PRUNED: "pruned"}
    return "warm start" if WARM in trial.user_attrs else words[trial.state]


def count(trials: Sequence[FrozenTrial]) -> str:
    """Number of trials in each state, such as 5 done, 2 pruned."""
    states = [state_of(trial) for trial in trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _print(
    trials: Sequence[FrozenTrial], best: Sequence[FrozenTrial], objectives: Sequence[str]
) -> None:
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    several = len(objectives) > 1
    title = "Trials that no other beats" if several else "Best trials"
    table = Table(title=f"{title} ({count(trials)})", title_justify="left")
    for name in ("trial", *(shown_value(name, 0)[0] for name in objectives)):
        table.add_column(name, justify="right")
    table.add_column("settings", overflow="fold")
    if several:
        shown = sorted(best, key=lambda trial: trial.values[0])[:SHOWN]
    else:
        upwards = DIRECTIONS[objectives[0]] == "maximize"
        shown = sorted(done, key=lambda trial: trial.values[0], reverse=upwards)[:SHOWN]
    for trial in shown:
        settings = " ".join(f"{name}={value}" for name, value in trial.params.items())
        pairs = zip(objectives, trial.values, strict=True)
        values = [f"{shown_value(name, value)[1]:.4g}" for name, value in pairs]
        table.add_row(str(trial.number), *values, escape(visible(settings)))
    Console(highlight=False).print(table)
