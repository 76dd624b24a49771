"""Plots of a search, by Optuna."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from fcnexp.search.methods import shown_value

SIZE = (9, 4.5)  # inches


def draw(study: optuna.Study, folder: Path, objectives: Sequence[str]) -> list[Path]:
    """Draw a study's history, importances and parallel coordinates, and the front of objectives.

    Returns the PNG files written. Importances need trials with different values.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls its plots experimental
        import matplotlib as mpl

        mpl.use("Agg")
        import optuna.visualization.matplotlib as plots
        from matplotlib import pyplot as plt

        wanted: dict[str, Callable[[], Any]] = {}
        for at, name in enumerate(objectives):
            end = f"_{name}" if len(objectives) > 1 else ""
            target = partial(_value, at=at, name=name)
            shown: dict[str, Any] = {"target": target, "target_name": shown_value(name, 0)[0]}
            wanted[f"history{end}"] = partial(plots.plot_optimization_history, study, **shown)
            wanted[f"importances{end}"] = partial(plots.plot_param_importances, study, **shown)
            wanted[f"parallel{end}"] = partial(plots.plot_parallel_coordinate, study, **shown)
        if len(objectives) > 1:
            names = list(objectives)
            wanted["front"] = partial(plots.plot_pareto_front, study, target_names=names)
        trials = study.get_trials(deepcopy=False)
        if sum(len(trial.intermediate_values) > 1 for trial in trials) > 1:
            wanted["curves"] = partial(plots.plot_intermediate_values, study)
        if len({tuple(t.values) for t in trials if t.state == TrialState.COMPLETE}) < 2:
            wanted = {name: plot for name, plot in wanted.items() if "importances" not in name}
        drawn = []
        for name, plot in wanted.items():
            axes = plot()
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            figure.set_size_inches(SIZE)
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=100, bbox_inches="tight")
            plt.close(figure)
            drawn.append(path)
    return drawn


def _value(trial: FrozenTrial, at: int, name: str) -> float:
    return shown_value(name, trial.values[at])[1]
