"""Objectives, samplers and pruners by name."""

import inspect
import itertools
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from fcnexp.config.values import did_you_mean
from fcnexp.errors import ConfigError
from fcnexp.search.space import Space

DIRECTIONS = {  # of objectives: scores, and facts of a run's record
    **dict.fromkeys(("miou", "pixel_acc", "mean_acc", "fw_iou"), "maximize"),
    **dict.fromkeys(("ms_per_image", "train_seconds", "peak_memory", "parameters"), "minimize"),
}
TRIAL = "FCNEXP_TRIAL"  # environment: JSON with the storage, study and id of a trial
# PartialFixed and Patient wrap another one, Nop prunes nothing, and grid is what BruteForce is.
NO_CHOICE = ("Base", "PartialFixed", "Patient", "Nop", "BruteForce")
SEEDED_ONCE = ("QMCSampler",)  # the seed orders all points


def shown_value(name: str, value: float) -> tuple[str, float]:
    """Return an objective's name with its unit, and its value in that unit: scores in percent."""
    is_score = DIRECTIONS[name] == "maximize"
    return (f"{name} (%)", 100 * value) if is_score else (name, value)


def check_objectives(names: Any) -> list[str]:
    """Return the names of the objectives. Raises ConfigError."""
    names = [names] if isinstance(names, str) else list(names or [])
    wrong = [name for name in names if name not in DIRECTIONS]
    if wrong or not names or len(set(names)) < len(names):
        shown = ",".join(map(str, names))
        near = did_you_mean(str(wrong[0]), DIRECTIONS) if wrong else ""
        raise ConfigError(
            f"hydra.sweeper.objectives=[{shown}]: list one or more of {', '.join(DIRECTIONS)}, "
            f"each once{near}"
        )
    return names


def values_of(record: Mapping[str, Any], objectives: Sequence[str]) -> list[float] | None:
    """Return a run's values of the objectives; None if its record lacks one."""
    found = [record["scores"].get(name, record.get(name)) for name in objectives]
    return None if None in found else [float(value) for value in found]


def build_samplers(choice: Any, n_jobs: int) -> Callable[[int], BaseSampler]:
    """Return a function from a trial's number to its sampler.

    choice: a name, or {name: ..., ARGUMENT: ...}. With a seed, each trial has its own sampler with
    another seed: a search that goes on then proposes the same points as one that was never
    interrupted, and not its first points again. Raises ConfigError.
    """
    kind, arguments = _kind("sampler", choice)
    if kind is optuna.samplers.GridSampler:  # its points are chosen by `points_of`
        return lambda number: optuna.samplers.RandomSampler()
    if kind is optuna.samplers.TPESampler and n_jobs > 1:
        arguments.setdefault("constant_liar", True)  # takes trials that still run for bad ones
    first, seed = _built("sampler", kind, arguments), arguments.get("seed")
    if seed is None or kind.__name__ in SEEDED_ONCE:
        return lambda number: first
    return lambda number: _built("sampler", kind, arguments | {"seed": seed + number})


def points_of(choice: Any, space: Space) -> list[dict[str, Any]] | None:
    """Return all points of a grid in their order, shuffled if it has a seed; None if it is none.

    Ours, since Optuna's own cannot repeat a trial that failed. Raises ConfigError.
    """
    kind, arguments = _kind("sampler", choice)
    if kind is not optuna.samplers.GridSampler:
        return None
    grid, seed = space.grid(), arguments.get("seed")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if seed is not None:
        random.Random(seed).shuffle(points)
    return points


def build_pruner(choice: Any) -> Any:
    """Return the pruner of a name, or of a mapping, and None for None. Raises ConfigError."""
    return None if choice is None else _built("pruner", *_kind("pruner", choice))


def _kind(part: str, choice: Any) -> tuple[type, dict[str, Any]]:
    module = {"sampler": optuna.samplers, "pruner": optuna.pruners}[part]
    known = {
        _plain(name.removesuffix(part.title())): getattr(module, name)
        for name in dir(module)
        if name.endswith(part.title()) and not name.startswith(NO_CHOICE)
    }
    arguments = dict(choice) if isinstance(choice, Mapping) else {"name": choice}
    name = str(arguments.pop("name", ""))
    kind = known.get(_plain(name).removesuffix(part))
    if kind is None:
        raise ConfigError(
            f"hydra.sweeper.{part}={choice}: no such {part}{did_you_mean(name, known)}; choose one "
            f"of {', '.join(known)}, or {{name: {next(iter(known))}, ARGUMENT: VALUE}}"
        )
    return kind, arguments


def _built(part: str, kind: type, arguments: Mapping[str, Any]) -> Any:
    allowed = list(inspect.signature(kind).parameters)
    for name in arguments:
        if name not in allowed:
            near = did_you_mean(name, allowed)
            raise ConfigError(
                f"hydra.sweeper.{part}.{name}: {kind.__name__} has no such argument{near}; it "
                f"takes {', '.join(allowed)}"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return kind(**arguments)
    except ImportError as error:
        missing = str(error).splitlines()[0]
        raise ConfigError(
            f"hydra.sweeper.{part}: {kind.__name__} needs a package: {missing}"
        ) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.sweeper.{part}: {kind.__name__}: {error}") from None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
