"""How the jobs of a sweep are started here: `hydra_plugins/fcnexp.py` shows these to Hydra."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from fcnexp import paths
from fcnexp.errors import ConfigError
from fcnexp.sweep import names
from fcnexp.sweep.gpus import hand_out
from fcnexp.sweep.processes import Planned, Processes

# Settings of the sweep itself, which mean nothing to a single job.
OF_SWEEP = ("hydra.mode=", "hydra.sweep", "hydra/sweeper", "hydra.launcher", "hydra/launcher")


class InProcessLauncher(BasicLauncher):
    """Hydra's own launcher, but a job's config is composed once.

    The sweeper composes every config to see whether it can be, and throws it away. That takes a
    tenth of a second, as long as all else about a job that is done.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Called by the sweeper before it does anything else."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        loader = hydra_context.config_loader
        loader.load_sweep_config = _each_twice(loader.load_sweep_config)  # type: ignore[method-assign]


class SubprocessLauncher(InProcessLauncher):
    """Each job is a process of its own: one that crashes, or is killed, costs that job only."""

    def __init__(self, n_jobs: int, gpus: str | Sequence[int | str] | None) -> None:
        super().__init__()
        if type(n_jobs) is not int or n_jobs < 1:
            raise ConfigError(f"hydra.launcher.n_jobs={n_jobs}: jobs at a time, 1 or more")
        self.gpus = hand_out(gpus if isinstance(gpus, str | None) else list(gpus), n_jobs)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; a failed one returns None, and the sweep goes on."""
        assert self.config is not None and self.hydra_context is not None
        if self.config.dry_run:
            return super().launch(job_overrides, initial_job_idx)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = [
            plan(self.hydra_context, self.config, number, overrides)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        endings = Processes(self.gpus, bool(self.config.fail_fast)).run(jobs)
        returned = []
        for job, ending in zip(jobs, endings, strict=True):
            one = JobReturn(overrides=job.overrides, working_dir=str(job.folder))
            one.status, one.return_value = JobStatus.COMPLETED, ending.miou
            returned.append(one)
        return returned


def plan(
    context: HydraContext, config: DictConfig, number: int, overrides: Sequence[str]
) -> Planned:
    """What is to be done for the overrides of one job of a sweep."""
    job = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.id = job.hydra.job.num = number
    before = HydraConfig.instance().cfg
    try:
        HydraConfig.instance().set_config(job)  # for ${hydra:...} in a subdir of the user's
        folder = (Path(str(job.hydra.sweep.dir)) / str(job.hydra.sweep.subdir)).resolve()
    finally:
        HydraConfig.instance().cfg = before
    cfg = OmegaConf.masked_copy(job, [key for key in job if key != "hydra"])
    return Planned(
        f"#{number}",
        command(job, overrides, folder),
        list(overrides),
        folder,
        names.digest_of(cfg),
    )


def command(config: DictConfig, overrides: Sequence[str], folder: Path) -> list[str]:
    """What a user would type to run this job alone, in its folder."""
    kept = [o for o in config.hydra.overrides.hydra if not o.lstrip("+~").startswith(OF_SWEEP)]
    where: list[str] = []
    for source in config.hydra.runtime.config_sources:
        if source.provider == "command-line":
            where += ["--config-dir", source.path]
        elif source.provider == "main" and Path(source.path) != paths.conf_dir():
            where += ["--config-path", source.path]
    if config.hydra.job.config_name != "train":
        where += ["--config-name", config.hydra.job.config_name]
    quoted = str(folder).replace('"', '\\"')
    own = ["hydra.mode=RUN", f'hydra.run.dir="{quoted}"']
    return [sys.executable, "-m", "fcnexp.train", *where, *kept, *overrides, *own]


def _each_twice(load: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """The function, but every second call with the same overrides gets what the first one made."""
    made: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(master_config: DictConfig, sweep_overrides: list[str]) -> Any:
        key = tuple(sweep_overrides)
        if key in made:
            return made.pop(key)
        made[key] = load(master_config, sweep_overrides)
        return made[key]

    return load_sweep_config
