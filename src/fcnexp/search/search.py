"""A search: one command, whose trials are the jobs of a sweep."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from optuna.trial import Trial, TrialState

from fcnexp.errors import ConfigError
from fcnexp.reporting.records import PRUNED
from fcnexp.run import locks
from fcnexp.search import methods, results
from fcnexp.search.space import space_of
from fcnexp.search.studies import Trials, name_of, open_storage
from fcnexp.search.warm_start import start_warm
from fcnexp.sweep import ledger
from fcnexp.sweep.job import Ending, Job, has_failed
from fcnexp.sweep.launcher import Chosen, InProcessLauncher

LOCK = "search.lock"
PRUNE = "+callbacks.prune"  # an override of each trial, if trials may be pruned


class Search:
    """Asks Optuna for a trial whenever a place is free, and runs it as a job of the sweep.

    params: what to search, beside the command line. given: the other settings of
    conf/hydra/sweeper/search.yaml.
    """

    def __init__(
        self,
        hydra_context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
        params: Any,
        **given: Any,
    ) -> None:
        self.config, self.params, self.given = config, params, given
        self.loader = hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def run(self, arguments: list[str]) -> None:
        """Run the search. Raises ConfigError, also if no trial is done at the end."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        parser = OverridesParser.create(config_loader=self.loader)
        listed = [f"{key}={value}" for key, value in (self.params or {}).items()]
        self.space = space_of(parser.parse_overrides([*listed, *arguments]))
        if not (type(self.given["n_trials"]) is int and self.given["n_trials"] > 0):
            raise ConfigError(f"hydra.sweeper.n_trials={self.given['n_trials']}: must be 1 or more")
        self.objectives = methods.check_objectives(self._value("objectives"))
        self.n_jobs, self.pruner = self._places(), self._checked_pruner()
        choice = self._value("sampler")
        self.sampler_of = methods.build_samplers(choice, self.n_jobs)
        self.points = methods.points_of(choice, self.space)
        self.trials_asked: dict[int, Trial] = {}
        self.over = False  # the search is being stopped
        if self.config.dry_run:
            self._check_one()
            return
        folder = Path(str(self.config.hydra.sweep.dir))
        with locks.claim(folder, LOCK) as mine:
            if not mine:
                raise ConfigError(
                    f"{folder}: another search runs here; wait for it, or choose another "
                    "hydra.sweep.dir"
                )
            self._search(folder)

    def _search(self, folder: Path) -> None:
        if self.config.hydra.launcher.get("wait") is False:
            raise ConfigError(
                "hydra.launcher.wait=false: a search chooses trials by the scores of earlier ones, "
                "so it must wait for them; leave out hydra.launcher.wait"
            )
        study = self._open(self._value("storage"))
        if folders := self._value("warm_start"):
            folders = [folders] if isinstance(folders, str) else folders
            print(start_warm(study, self.space, folders, self.objectives))
        n_trials = self._value("n_trials")
        self.trials = Trials(study, self.space, n_trials, self.sampler_of, self.points)
        print(f"search for the best {', '.join(self.objectives)}: {self.trials.describe()}")
        launch = getattr(self.launcher, "launch_as_chosen", self._launch_batches)
        try:
            launch(self._choose, self._tell)
        finally:
            found = results.write(study, folder, self.objectives)
        if not found:
            states = results.count(study.get_trials(deepcopy=False))
            raise ConfigError(f"hydra/sweeper=search: no trial has finished ({states})")

    def _open(self, storage: str | None) -> optuna.Study:
        """Return the study, new or continued."""
        directions = [methods.DIRECTIONS[name] for name in self.objectives]
        return optuna.create_study(
            storage=open_storage(storage),
            study_name=name_of(self.space, self.objectives),
            directions=directions,  # type: ignore[arg-type]  # two words
            load_if_exists=True,
            pruner=methods.build_pruner(self.pruner),
        )

    def _choose(self) -> Chosen | None:
        """The next trial as a job; None if none is left, or the search is being stopped."""
        failed = self.config.fail_fast and has_failed()
        trial = None if self.over or failed else self.trials.next()
        if trial is None:
            return None
        self.trials_asked[trial.number] = trial
        varying = " ".join(f"{name}={value}" for name, value in trial.params.items())
        overrides = self.space.overrides(trial.params)
        environment = {}
        if self.pruner is not None:
            overrides += _prune(self.pruner)
            place = {"storage": self._value("storage"), "study": self.trials.study.study_name}
            environment[methods.TRIAL] = json.dumps(place | {"id": trial._trial_id})
        return Chosen(trial.number, overrides, varying, environment)

    def _tell(self, job: Job, ending: Ending) -> None:
        """Record how a trial ended; one that was stopped stays open, and is gone on with later."""
        if ending.outcome in ("stopped", "skipped", "elsewhere"):
            self.over = True
            return
        trial = self.trials_asked.pop(job.number)
        trial.set_user_attr("folder", str(job.folder))
        record, tell = ledger.result_of(job.folder, job.digest), self.trials.study.tell
        if record is None:
            tell(trial, state=TrialState.FAIL)
        elif str(record.get("stopped_early") or "").startswith(PRUNED):
            tell(trial, state=TrialState.PRUNED)
        elif (values := methods.values_of(record, self.objectives)) is None:
            tell(trial, state=TrialState.FAIL)
        else:
            tell(trial, values)

    def _launch_batches(
        self, choose: Callable[[], Chosen | None], tell: Callable[[Job, Ending], None]
    ) -> None:
        """Run batches of trials with a launcher that knows no other way, such as Slurm's."""
        while batch := [c for c in (choose() for _ in range(self.n_jobs)) if c is not None]:
            returned = self.launcher.launch([c.overrides for c in batch], batch[0].number)
            for chosen, each in zip(batch, returned, strict=True):
                folder = Path(str(each.working_dir))
                record = ledger.read(folder)
                digest = record.digest if record else ""
                job = Job(chosen.number, chosen.overrides, folder, digest, chosen.varying)
                tell(job, Ending("now" if ledger.state_of(folder) == "done" else "failed"))

    def _check_one(self) -> None:
        """Check the first trial without storing anything. Raises what it raises."""
        self.trials = Trials(self._open(None), self.space, 1, self.sampler_of, self.points)
        chosen = self._choose()
        assert chosen is not None
        for checked in self.launcher.launch([chosen.overrides], 0):
            _ = checked.return_value  # raises the job's exception
        print("dry run of a search: only its first trial was checked, and it is fine")

    def _checked_pruner(self) -> Any:
        """The choice of a pruner. Raises ConfigError if it cannot work here."""
        pruner = self._value("pruner")
        methods.build_pruner(pruner)
        if pruner is None:
            return None
        if len(self.objectives) > 1:
            raise ConfigError("hydra.sweeper.pruner: needs a single objective, miou")
        if self.objectives != ["miou"]:
            raise ConfigError(f"hydra.sweeper.pruner: it watches miou, not {self.objectives[0]}")
        if self._value("storage") is None:
            raise ConfigError("hydra.sweeper.pruner: needs a hydra.sweeper.storage; null has none")
        if not isinstance(self.launcher, InProcessLauncher):
            raise ConfigError(
                "hydra.sweeper.pruner: works on one machine: hydra/launcher=subprocess"
            )
        return pruner

    def _places(self) -> int:
        """Number of trials that run concurrently."""
        settings = self.config.hydra.launcher
        places = settings.get("array_parallelism") or settings.get("n_jobs") or 1
        return max(1, int(places))

    def _value(self, name: str) -> Any:
        value = self.given[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _prune(pruner: Any) -> list[str]:
    """Overrides that add the callback with this choice of a pruner."""
    given = {f"pruner.{k}": v for k, v in pruner.items()} if isinstance(pruner, dict) else {}
    given = {"_target_": "fcnexp.search.pruning.Prune"} | (given or {"pruner": pruner})
    return [f"{PRUNE}.{key}={json.dumps(value).strip(chr(34))}" for key, value in given.items()]
