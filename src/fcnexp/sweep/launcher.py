"""Hydra launchers that run a sweep's jobs on this machine, registered by `hydra_plugins/`."""

import copy
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.plugins.config_source import ConfigResult
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from fcnexp.config import job_names
from fcnexp.config.compose import conf_dir
from fcnexp.errors import ConfigError
from fcnexp.run import data_record, locks
from fcnexp.sweep import data_preflight
from fcnexp.sweep.job import Ending, Job, done_before, is_done, note
from fcnexp.sweep.processes import Planned, Processes, assign_gpus

PAUSE = 10  # seconds between lines on a sweep that is being planned
# Settings of the sweep itself, which do not apply to a single job.
OF_SWEEP = ("hydra.mode=", "hydra.sweep", "hydra/sweeper", "hydra.launcher", "hydra/launcher")


class Chosen(NamedTuple):
    """A job that a search chooses while others run. varying: its overrides, for messages.

    environment: of its process, beside that of the command.
    """

    number: int
    overrides: list[str]
    varying: str
    environment: Mapping[str, str] = {}


Choose = Callable[[], Chosen | None]  # the next job, or None
Tell = Callable[[Job, Ending], None]  # hears how a job ended


class FilesReadOnce(CachingConfigRepository):
    """The files of `conf`, read once per launch; Hydra would read them again for each job."""

    def __deepcopy__(self, memo: dict) -> Self:
        """Return itself, since Hydra copies the repository for each job."""
        return self

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return a copy of the file's content, since Hydra modifies it."""
        return copy.deepcopy(super().load_config(config_path))


def tell_of(composed: int, told: float) -> float:
    """Print how many configs are composed, every PAUSE seconds; return when it last did.

    2000 of them take minutes, before the first job starts.
    """
    now = time.monotonic()
    if now - told < PAUSE:
        return told
    print(f"{composed} configs of the sweep composed ...", file=sys.stderr, flush=True)
    return now


class InProcessLauncher(BasicLauncher):
    """Hydra's basic launcher, but fast for jobs that are done.

    Hydra's sweeper composes every config to validate it, and discards it. That takes 0.1 s, and
    starting a job through Hydra takes another 0.1 s.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Cache composed configs; the sweeper calls this first."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.kept: dict[tuple[str, ...], DictConfig] = {}
        self.told = time.monotonic()
        loader = hydra_context.config_loader
        loader.repository = FilesReadOnce(loader.repository)  # type: ignore[attr-defined]
        compose = loader.load_sweep_config

        def keep(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
            key = tuple(sweep_overrides)
            if key not in self.kept:
                self.kept[key] = compose(master_config, sweep_overrides)
                self.told = tell_of(len(self.kept), self.told)
            return self.kept[key]

        loader.load_sweep_config = keep  # type: ignore[method-assign]

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs that are not done, one after the other."""
        assert self.config is not None
        returned: list[JobReturn] = []
        planned = self.plan_all(job_overrides, initial_job_idx)
        if not self.config.dry_run:
            self.refuse_data(planned)
        for job, *_ in planned:
            ending = None if self.config.dry_run else done_before(job)
            if ending is None:
                returned += super().launch([job.overrides], job.number)
                returned[-1].cfg = returned[-1].hydra_cfg = None  # saves 0.5 MB per job
            else:
                note(job, ending.outcome)
                returned.append(job_return(job, ending))
            self.kept.pop(tuple(job.overrides), None)
        return returned

    def launch_as_chosen(self, choose: Choose, tell: Tell) -> None:
        """Run one job after the other, each chosen when the one before has ended."""
        while (chosen := choose()) is not None:
            job = self.plan_chosen(chosen).job
            ending = done_before(job)
            while ending is None and locks.is_held(
                job.folder
            ):  # left by a launcher that was killed
                time.sleep(1)
                ending = done_before(job)
            if ending is None:
                with _environment(chosen.environment):
                    (returned,) = super().launch([job.overrides], job.number)
                miou = returned.return_value
                ending = Ending("failed" if miou is None else "now", miou)
            else:
                note(job, ending.outcome)
            tell(job, ending)

    def plan_chosen(self, chosen: Chosen) -> Planned:
        """Plan one job of a search, and raise ConfigError or DataError if its data is unusable."""
        self.told = time.monotonic()  # one config is composed at a time, which needs no line
        planned = self.plan(chosen.number, chosen.overrides, chosen.varying)
        self.refuse_data([planned])
        self.kept.pop(tuple(chosen.overrides), None)
        return planned._replace(environment=chosen.environment)

    def plan_all(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[Planned]:
        """Plan all jobs of a launch, with the overrides by which they differ."""
        assert self.config is not None
        all_varying = job_names.varying(job_overrides, self.config.hydra.overrides.task)
        return [
            self.plan(number, list(overrides), varying)
            for number, (overrides, varying) in enumerate(
                zip(job_overrides, all_varying, strict=True), start=initial_job_idx
            )
        ]

    def refuse_data(self, planned: Sequence[Planned]) -> None:
        """Raise ConfigError if a job's data has changed, DataError if no open job has its data."""
        data_record.refuse_changed(job.folder for job, *_ in planned)
        left = [job.overrides for job, *_ in planned if not is_done(job)]
        data_preflight.refuse([self._config_of(overrides) for overrides in left])

    def plan(self, number: int, overrides: list[str], varying: str) -> Planned:
        """Return a job with the folder that Hydra would choose, and the command to run it alone."""
        config = self._config_of(overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        before = HydraConfig.instance().cfg
        try:
            HydraConfig.instance().set_config(config)  # some values are resolved from it
            digest = job_names.digest_of(config)
            sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
            usual = sweep["subdir"] == job_names.JOB  # then the digest above can be reused
            subdir = job_names.name_with(config, digest) if usual else config.hydra.sweep.subdir
            folder = Path(str(config.hydra.sweep.dir)) / str(subdir)
        finally:
            HydraConfig.instance().cfg = before
            OmegaConf.set_readonly(config.hydra, False)  # as before: Hydra writes into it
        folder = folder.resolve()
        job = Job(number, overrides, folder, digest, varying)
        return Planned(job, command(config, overrides, folder))

    def _config_of(self, overrides: list[str]) -> DictConfig:
        assert self.config is not None and self.hydra_context is not None
        return self.hydra_context.config_loader.load_sweep_config(self.config, overrides)


class SubprocessLauncher(InProcessLauncher):
    """Runs each job in a separate process: a crash or a kill fails that job only."""

    def __init__(self, n_jobs: int, gpus: str | Sequence[int | str] | None) -> None:
        super().__init__()
        self.n_jobs, self.choice = n_jobs, gpus if isinstance(gpus, str | None) else list(gpus)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Check the settings. Raises ConfigError, which Hydra would hide if the constructor did."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if type(self.n_jobs) is not int or self.n_jobs < 1:
            raise ConfigError(f"hydra.launcher.n_jobs={self.n_jobs}: must be 1 or more")
        self.gpus = assign_gpus(self.choice, self.n_jobs)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; a failed one returns None, and the others continue."""
        assert self.config is not None
        if self.config.dry_run:
            return super().launch(job_overrides, initial_job_idx)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        planned = self.plan_all(job_overrides, initial_job_idx)
        self.refuse_data(planned)
        self.kept.clear()
        endings = self._processes().run(planned)
        return [job_return(p.job, ending) for p, ending in zip(planned, endings, strict=True)]

    def launch_as_chosen(self, choose: Choose, tell: Tell) -> None:
        """Run n_jobs jobs at a time, each chosen when a place is free."""
        assert self.config is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)

        def plan_next() -> Planned | None:
            chosen = choose()
            return None if chosen is None else self.plan_chosen(chosen)

        self._processes().run_as_chosen(plan_next, lambda p, ending: tell(p.job, ending))

    def _processes(self) -> Processes:
        assert self.config is not None
        return Processes(self.gpus, bool(self.config.fail_fast))


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    """Add variables to the environment for the block."""
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def job_return(job: Job, ending: Ending) -> JobReturn:
    """Result for Hydra's sweepers; that of a failed job is None, so that the sweep continues."""
    returned = JobReturn(overrides=job.overrides, working_dir=str(job.folder))
    returned.status, returned.return_value = JobStatus.COMPLETED, ending.miou
    return returned


def command(config: DictConfig, overrides: Sequence[str], folder: Path) -> list[str]:
    """Command that runs this job alone, in its folder."""
    given: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    kept = [override for override in given if not override.lstrip("+~").startswith(OF_SWEEP)]
    where: list[str] = []
    for source in config.hydra.runtime.config_sources:
        if source.provider == "command-line":
            where += ["--config-dir", source.path]
        elif source.provider == "main" and Path(source.path) != conf_dir():
            where += ["--config-path", source.path]
    if config.hydra.job.config_name != "train":
        where += ["--config-name", config.hydra.job.config_name]
    quoted = str(folder).replace('"', '\\"')
    own = ["hydra.mode=RUN", f'hydra.run.dir="{quoted}"']
    return [sys.executable, "-m", "fcnexp.train", *where, *kept, *overrides, *own]
