"""Hydra launcher for Slurm: each job of a sweep goes through sbatch, by submitit.

On top of hydra-submitit-launcher: all jobs are waited for, so that one that Slurm ends costs only
itself, and what was wrong with it is told.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher as Submitit

from fcnexp.errors import ConfigError


class SlurmLauncher(Submitit):
    """Submits the jobs of a sweep to Slurm as one array. Its keys are submitit's."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs, wait for all, and return what came of each, None where it was lost.

        Raises ConfigError where there is no Slurm, or it refuses what is asked for.
        """
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        parameters = (
            [list(overrides) for overrides in job_overrides],
            ["hydra.sweep.dir"] * len(numbers),
            list(numbers),
            [f"job_{number}" for number in numbers],
            [Singleton.get_state()] * len(numbers),
        )
        jobs = self._submit(*parameters)
        array = jobs[0].job_id.partition("_")[0]
        print(f"{len(jobs)} jobs queued in Slurm; `squeue` shows them, `scancel {array}` ends them")
        try:
            return [self._wait(*pair) for pair in zip(jobs, job_overrides, strict=True)]
        except KeyboardInterrupt:
            print(f"no longer waited for; the jobs go on: `scancel {array}` ends them")
            raise

    def _submit(self, *parameters: Sequence[Any]) -> list[Any]:
        import submitit
        from submitit.core.utils import FailedJobError

        settings = dict(self.params)
        folder, timeouts = settings.pop("submitit_folder"), settings.pop("max_num_timeout")
        if settings["cpus_per_task"]:  # since Slurm 22.05 a step is not given what the job has
            settings["srun_args"] = [f"--cpus-per-task={settings['cpus_per_task']}"]
        try:
            executor = submitit.AutoExecutor(folder, "slurm", slurm_max_num_timeout=timeouts)
            executor.update_parameters(**{f"slurm_{key}": settings[key] for key in settings})
            return executor.map_array(self, *parameters)
        except RuntimeError as error:
            if "srun" not in str(error):
                raise
            raise ConfigError(
                "hydra/launcher=slurm: no Slurm on this machine (no srun); type it where sbatch "
                "works, or choose hydra/launcher=subprocess"
            ) from None
        except FailedJobError as error:
            reasons = " ".join(str(error).replace("sbatch: error: ", "").split())
            raise ConfigError(f"hydra.launcher: sbatch refuses it: {reasons}") from None

    def _wait(self, job: Any, overrides: Sequence[str]) -> JobReturn:
        from submitit.core.utils import UncompletedJobError

        try:
            return job.results()[0]
        except UncompletedJobError as error:  # FailedJobError is one
            state = job.get_info().get("State", "")
        print(f"lost: {' '.join(filter_overrides(overrides))}: {state or error}; {job.paths.stdout}")
        lost = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
        lost.return_value = None
        return lost
