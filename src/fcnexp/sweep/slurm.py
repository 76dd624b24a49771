"""Hydra launcher for Slurm, through submitit.

Unlike hydra-submitit-launcher, it does not queue finished jobs again, and it waits for all jobs, so
that a job that Slurm ends does not stop the others; with wait=false it waits for none.
"""

import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.types import HydraContext
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Submitit

from fcnexp.errors import ConfigError, UserError
from fcnexp.run import data_record, locks
from fcnexp.sweep import queued
from fcnexp.sweep.job import Ending, Job, describe, done_before, line_of_end, note, record_death
from fcnexp.sweep.launcher import InProcessLauncher, job_return

GRACE = 60.0  # seconds to wait for a job that Slurm ends to save; Slurm allows it 30


@dataclass
class SlurmSettings(SlurmQueueConf):
    """Submitit's settings, and wait: False submits the jobs and returns."""

    wait: bool = True


ConfigStore.instance().store(
    group="hydra/launcher", name="fcnexp_slurm_settings", node=SlurmSettings(), provider="fcnexp"
)


class SlurmLauncher(Submitit):
    """Submits the jobs of a sweep to Slurm as one array, with submitit's settings."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Queue the jobs that are not done and wait; a failed or lost job returns None.

        Raises ConfigError if Slurm is missing or rejects the settings.
        """
        here = self._here()
        assert self.config is not None
        if self.config.dry_run:
            return here.launch(job_overrides, initial_job_idx)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = [planned.job for planned in here.plan_all(job_overrides, initial_job_idx)]
        data_record.refuse_changed(job.folder for job in jobs)
        endings = [done_before(job) for job in jobs]
        pairs = list(zip(jobs, endings, strict=True))
        if not self.params["wait"]:
            self._leave([job for job, ending in pairs if ending is None])
            for job, ending in pairs:
                note(job, "queued" if ending is None else ending.outcome)
            return [job_return(job, ending or Ending("queued")) for job, ending in pairs]
        ran = iter(self._run([job for job, ending in pairs if ending is None]))
        for job, ending in pairs:
            if ending is not None:
                note(job, ending.outcome)
        return [job_return(job, ending or next(ran)) for job, ending in pairs]

    def _here(self) -> InProcessLauncher:
        """Launcher that plans the jobs, and runs those that do not need Slurm."""
        assert self.config is not None and self.hydra_context is not None
        launcher = InProcessLauncher()
        launcher.setup(
            # Copied, since it modifies the loader, and this launcher's is pickled for the jobs.
            hydra_context=HydraContext(
                config_loader=copy.copy(self.hydra_context.config_loader),
                callbacks=self.hydra_context.callbacks,
            ),
            task_function=self.task_function,
            config=self.config,
        )
        return launcher

    def _run(self, jobs: Sequence[Job]) -> list[Ending]:
        """Run jobs in Slurm and return their endings."""
        if not jobs:
            return []
        submitted = self._submit(jobs)
        array = submitted[0].job_id.partition("_")[0]
        what = f"{len(jobs)} job{'s' * (len(jobs) != 1)} queued in Slurm"
        print(f"{what}: squeue lists them, scancel {array} stops them", flush=True)
        try:
            return [_wait(job, its) for job, its in zip(jobs, submitted, strict=True)]
        except KeyboardInterrupt:
            print(f"stopped waiting, but the jobs continue: scancel {array} stops them")
            raise

    def _leave(self, jobs: Sequence[Job]) -> None:
        """Submit the jobs that neither run nor wait in Slurm, and record their numbers."""
        assert self.config is not None
        sweep = Path(str(self.config.hydra.sweep.dir)).resolve()
        sweep.mkdir(parents=True, exist_ok=True)
        with locks.claim(sweep, queued.LOCK) as mine:
            if not mine:
                raise ConfigError(f"{sweep}: another command submits its jobs; try again later")
            there = queued.in_slurm(sweep)
            if there is None:
                raise ConfigError(
                    "hydra.launcher.wait=false: squeue does not say which jobs are still queued; "
                    "run the command on a machine where squeue works"
                )
            each = {job.folder: job for job in jobs}  # other settings, but the same job
            left = [
                j for j in each.values() if j.folder not in there and not locks.is_held(j.folder)
            ]
            submitted = self._submit(left) if left else []
            numbers = [its.job_id for its in submitted]
            queued.add(sweep, {j.folder: n for j, n in zip(left, numbers, strict=True)})
        before = f", {len(each) - len(left)} queued or running before" * (len(left) < len(each))
        print(f"{len(left)} job{'s' * (len(left) != 1)} queued in Slurm{before}", flush=True)
        if numbers:
            array = numbers[0].partition("_")[0]
            print(f"squeue --jobs={array} lists them, scancel {array} stops them", flush=True)

    def _submit(self, jobs: Sequence[Job]) -> list[Any]:
        import submitit
        from submitit.core.utils import FailedJobError

        settings = {key: value for key, value in self.params.items() if key != "wait"}
        folder, timeouts = settings.pop("submitit_folder"), settings.pop("max_num_timeout")
        if settings["cpus_per_task"]:  # since Slurm 22.05, steps do not inherit it
            settings["srun_args"] = [f"--cpus-per-task={settings['cpus_per_task']}"]
        try:
            executor = submitit.AutoExecutor(folder, "slurm", slurm_max_num_timeout=timeouts)
            executor.update_parameters(**{f"slurm_{key}": settings[key] for key in settings})
            return executor.map_array(
                self,
                [job.overrides for job in jobs],
                ["hydra.sweep.dir"] * len(jobs),
                [job.number for job in jobs],
                [f"job_{job.number}" for job in jobs],
                [Singleton.get_state()] * len(jobs),
            )
        except FailedJobError as error:
            reasons = " ".join(str(error).replace("sbatch: error: ", "").split())
            raise ConfigError(f"hydra.launcher: sbatch rejects the job: {reasons}") from None
        except RuntimeError as error:
            if "srun" not in str(error):
                raise
            raise ConfigError(
                "hydra/launcher=slurm: no Slurm on this machine (no srun); run the command on a "
                "machine with Slurm, or choose hydra/launcher=subprocess"
            ) from None


def _wait(job: Job, submitted: Any) -> Ending:
    """Wait for a job to leave Slurm, and return its ending."""
    from submitit.core.utils import UncompletedJobError

    try:
        miou = submitted.results()[0].return_value
        return Ending("failed" if miou is None else "now", miou)
    except UserError as error:  # such as a folder that cannot be locked
        note(job, "failed")
        print(line_of_end(job, describe(error, job.folder)), file=sys.stderr, flush=True)
        return Ending("failed")
    except UncompletedJobError as error:
        state = submitted.get_info().get("State") or "lost"
        lines = str(error).strip().splitlines()
    if "timed-out too many times" in "".join(lines):
        state = "TIMEOUT"
        cause = "time limit reached too often; raise hydra.launcher.max_num_timeout or timeout_min"
    else:
        cause = f"ended by Slurm; the same command continues this job; {submitted.paths.stdout}"
    end = time.monotonic() + GRACE
    while locks.is_held(job.folder) and time.monotonic() < end:  # it may still be saving
        time.sleep(0.2)
    death = {"type": state, "message": cause, "traceback": "\n".join(lines[-20:])}
    ending, failure = record_death(job, death)
    if failure is not None:
        note(job, ending.outcome)
        line = line_of_end(job, failure, stopped=ending.outcome == "stopped")
        print(line, file=sys.stderr, flush=True)
    return ending
