"""The study of a search: where it is stored, and which of its trials are still to run."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from fcnexp.errors import ConfigError
from fcnexp.search.space import Space

PATIENCE = 60  # seconds that a process waits while others write to the study's file
LONGEST = 400  # characters of a study's name; a database may hold 512
WARM, RETRY = "warm_start", "retry_of"  # attributes: a finished run; the number of a failed trial


def open_storage(url: str | None) -> Any:
    """Open a study's storage; None keeps it in memory. Raises ConfigError."""
    if url is None:
        return optuna.storages.InMemoryStorage()
    waiting = {"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite") else {}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=waiting)
    except (SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"hydra.sweeper.storage={url}: cannot be opened ({str(error).splitlines()[0]}); give "
            "sqlite:///FILE, another URL of SQLAlchemy, or null to keep the study in memory"
        ) from None


def name_of(space: Space, objectives: list[str]) -> str:
    """Name of the study of a space: the same command gives the same name."""
    name = f"{', '.join(objectives)}: {space.describe()}"
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return name if len(name) <= LONGEST else f"{name[:LONGEST]} ... {digest}"


class Trials:
    """The trials of a study that are still to run.

    Those that a killed search has left come first, and are run to their end; then those that failed
    in earlier launches, once more; then new ones, until there are n_trials. Runs from which the
    search started warm do not count.

    sampler_of: a trial's sampler, by its number. points: of a grid, in their order, or None.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        n_trials: int,
        sampler_of: Callable[[int], Any],
        points: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        self.study, self.space, self.sampler_of, self.points = study, space, sampler_of, points
        n_trials = n_trials if points is None else min(n_trials, len(points))
        found = [trial for trial in study.trials if WARM not in trial.user_attrs]
        by = {s: [t for t in found if t.state == s] for s in TrialState}
        self.left = by[TrialState.RUNNING]
        retried = {trial.user_attrs.get(RETRY) for trial in found}
        self.failed = [t for t in by[TrialState.FAIL] if t.number not in retried]
        self.done, self.pruned = len(by[TrialState.COMPLETE]), len(by[TrialState.PRUNED])
        for trial in self.failed:
            study.enqueue_trial(trial.params, user_attrs={RETRY: trial.number})
        self.queued = len(by[TrialState.WAITING]) + len(self.failed)
        self.new = n_trials - (self.done + self.pruned + len(self.left) + self.queued)

    def describe(self) -> str:
        """Return one line on what is done and what is to come."""
        parts = [f"{self.done} done", *[f"{self.pruned} pruned"] * bool(self.pruned)]
        parts += [f"{len(self.left)} to go on with"] * bool(self.left)
        parts += [f"{self.queued} that failed, once more"] * bool(self.queued)
        return ", ".join([*parts, f"{max(0, self.new)} new"])

    def next(self) -> Trial | None:
        """Return the next trial, with all of its parameters; None if there is none."""
        if self.left:
            found = self.left.pop(0)
            self.study.sampler = self.sampler_of(found.number)
            trial = Trial(self.study, found._trial_id)
            for name, distribution in self.space.distributions.items():
                _suggest(trial, name, distribution)
            return trial
        if self.queued:
            self.queued -= 1
        elif self.new > 0 and self._is_point_left():
            self.new -= 1
        else:
            return None
        self.study.sampler = self.sampler_of(len(self.study.get_trials(deepcopy=False)))
        return self.study.ask(self.space.distributions)

    def _is_point_left(self) -> bool:
        """Queue the next point of a grid that no trial has; False if there is none."""
        if self.points is None:
            return True
        trials = self.study.get_trials(deepcopy=False)
        had = [trial.params or trial.system_attrs.get("fixed_params") for trial in trials]
        point = next((point for point in self.points if point not in had), None)
        if point is not None:
            self.study.enqueue_trial(point)
        return point is not None


def _suggest(trial: Trial, name: str, distribution: Any) -> None:
    """Give a trial a value unless it has one."""
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
    else:
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        whole = isinstance(distribution, IntDistribution)
        suggest: Callable = trial.suggest_int if whole else trial.suggest_float
        step = {} if distribution.log else {"step": distribution.step}
        suggest(name, distribution.low, distribution.high, log=distribution.log, **step)


def best_of(study: optuna.Study) -> list[FrozenTrial]:
    """Return the best trial, or those that no other beats in all objectives; [] if none is done."""
    finished = [t for t in study.trials if t.state == TrialState.COMPLETE]
    if not finished:
        return []
    return [study.best_trial] if len(study.directions) == 1 else study.best_trials
