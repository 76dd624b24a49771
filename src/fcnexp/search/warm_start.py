"""Warm start: finished runs as the first trials of a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from fcnexp.reporting.records import Run, read_runs
from fcnexp.search.methods import values_of
from fcnexp.search.space import Space
from fcnexp.search.studies import WARM


def start_warm(
    study: optuna.Study, space: Space, folders: Sequence[str], objectives: Sequence[str]
) -> str:
    """Add the finished runs below some folders to a study, each once; return one line on them.

    A run is left out if one of its settings lies outside of the space, or an objective is missing
    in its record. Raises DataError.
    """
    known = {trial.user_attrs.get(WARM) for trial in study.trials}
    runs = read_runs([Path(folder) for folder in folders]).finished
    used = 0
    for run in runs:
        params = _params_of(run, space)
        values = values_of(run.result, objectives)
        if params is None or values is None:
            continue
        used += 1
        name = str(run.folder.resolve())
        if name not in known:
            trial = optuna.trial.create_trial(
                params=params,
                distributions=space.distributions,
                values=values,
                user_attrs={WARM: name, "folder": name},
            )
            study.add_trial(trial)
    return f"warm start from {used} of {len(runs)} finished runs"


def _params_of(run: Run, space: Space) -> dict[str, Any] | None:
    """Values of the parameters in a run; None if one is outside of the space."""
    found = {}
    for name, distribution in space.distributions.items():
        value = run.result.get("choices", {}).get(name, _select(run.config, name))
        fitting = _fitting(value, distribution)
        if fitting is None:
            return None
        found[name] = fitting
    return found


def _select(config: Any, name: str) -> Any:
    for key in name.split("."):
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _fitting(value: Any, distribution: BaseDistribution) -> Any:
    """The value as the distribution has it; None if it does not contain it."""
    if isinstance(distribution, CategoricalDistribution):
        return next((c for c in distribution.choices if value in (c, yaml.safe_load(str(c)))), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(distribution, IntDistribution) and value != int(value):
        return None
    low, high, step = distribution.low, distribution.high, distribution.step  # type: ignore[attr-defined]  # numbers have them
    on_step = step is None or abs((value - low) / step - round((value - low) / step)) < 1e-9
    return value if low <= value <= high and on_step else None
