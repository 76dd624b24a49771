"""Hydra launcher for Slurm: each job of a sweep goes through sbatch, by submitit.

On top of hydra-submitit-launcher: what is done is not queued again, and all jobs are waited for, so
that one that Slurm ends costs only itself.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Submitit

from fcnexp.errors import ConfigError
from fcnexp.sweep import launches, ledger
from fcnexp.sweep.job import line_of_failure
from fcnexp.sweep.launcher import InProcessLauncher, plan
from fcnexp.sweep.processes import Planned

GRACE = 60.0  # seconds for a job that Slurm ends to save where it is; Slurm's own are 30


class SlurmLauncher(Submitit):
    """Submits the jobs of a sweep to Slurm as one array. Its keys are submitit's."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Queue what is not done, wait for all of it; a job that failed or was lost returns None.

        Raises ConfigError where there is no Slurm, or it refuses what is asked for.
        """
        assert self.config is not None and self.hydra_context is not None
        if self.config.dry_run:
            here = InProcessLauncher()
            here.setup(
                hydra_context=self.hydra_context,
                task_function=self.task_function,
                config=self.config,
            )
            return here.launch(job_overrides, initial_job_idx)
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = [
            plan(self.hydra_context, self.config, number, overrides)
            for number, overrides in enumerate(job_overrides, start=initial_job_idx)
        ]
        results = [ledger.result_of(job.folder, job.digest) for job in jobs]
        pairs = list(zip(jobs, results, strict=True))
        ran = iter(self._run([job for job, result in pairs if result is None]))
        mious = [_before(job, result) if result else next(ran) for job, result in pairs]
        returned = [JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED) for job in jobs]
        for one, miou in zip(returned, mious, strict=True):
            one.return_value = miou
        return returned

    def _run(self, jobs: Sequence[Planned]) -> list[float | None]:
        """Mean IU of each job once it has come through Slurm."""
        if not jobs:
            return []
        queued = self._submit(jobs)
        array = queued[0].job_id.partition("_")[0]
        what = f"{len(jobs)} job{'s' * (len(jobs) != 1)} queued in Slurm"
        print(f"{what}: see squeue; scancel {array} ends them", flush=True)
        try:
            return [_wait(job, its) for job, its in zip(jobs, queued, strict=True)]
        except KeyboardInterrupt:
            print(f"not waited for any more, but they go on: scancel {array} ends them")
            raise

    def _submit(self, jobs: Sequence[Planned]) -> list[Any]:
        import submitit
        from submitit.core.utils import FailedJobError

        settings = dict(self.params)
        folder, timeouts = settings.pop("submitit_folder"), settings.pop("max_num_timeout")
        if settings["cpus_per_task"]:  # since Slurm 22.05 a step is not given what the job has
            settings["srun_args"] = [f"--cpus-per-task={settings['cpus_per_task']}"]
        numbers = [int(job.label.removeprefix("#")) for job in jobs]
        try:
            executor = submitit.AutoExecutor(folder, "slurm", slurm_max_num_timeout=timeouts)
            executor.update_parameters(**{f"slurm_{key}": settings[key] for key in settings})
            return executor.map_array(
                self,
                [job.overrides for job in jobs],
                ["hydra.sweep.dir"] * len(jobs),
                numbers,
                [f"job_{number}" for number in numbers],
                [Singleton.get_state()] * len(jobs),
            )
        except FailedJobError as error:
            reasons = " ".join(str(error).replace("sbatch: error: ", "").split())
            raise ConfigError(f"hydra.launcher: sbatch refuses: {reasons}") from None
        except RuntimeError as error:
            if "srun" not in str(error):
                raise
            raise ConfigError(
                "hydra/launcher=slurm: no Slurm on this machine (no srun); give the command where "
                "there is, or choose hydra/launcher=subprocess"
            ) from None


def _before(job: Planned, result: dict[str, Any]) -> float:
    if launch := launches.current():
        launch.note(job.folder, job.overrides, "before")
    return result["scores"]["miou"]


def _wait(job: Planned, queued: Any) -> float | None:
    """Mean IU of a job once Slurm is through with it; None where it failed."""
    from submitit.core.utils import UncompletedJobError

    try:
        return queued.results()[0].return_value
    except UncompletedJobError as error:
        state = queued.get_info().get("State") or "lost"
        said = str(error).strip().splitlines()
    if "timed-out too many times" in "".join(said):
        cause = "its time was up too often; raise hydra.launcher.max_num_timeout or timeout_min"
    else:
        cause = f"ended by Slurm; the same command goes on with it; {queued.paths.stdout}"
    _bury(job, {"type": state, "message": cause, "traceback": "\n".join(said[-20:])})
    return None


def _bury(job: Planned, failure: dict[str, str | None]) -> None:
    """Write down why a job was lost, once its process is gone, which may still save."""
    end = time.monotonic() + GRACE
    while ledger.is_held(job.folder) and time.monotonic() < end:
        time.sleep(0.2)
    with ledger.claim(job.folder) as mine:
        if not mine or ledger.result_of(job.folder, job.digest) is not None:
            return
        record = ledger.read(job.folder) or ledger.begin(job.folder, job.digest, job.overrides)
        ledger.end(job.folder, record, failure)
    if launch := launches.current():
        launch.note(job.folder, job.overrides, "failed")
    print(line_of_failure(job.folder, failure), file=sys.stderr)
