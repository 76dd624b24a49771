"""Slurm launcher for Hydra, if the extra `sweep` is installed."""

from importlib.util import find_spec

if find_spec("hydra_plugins.hydra_submitit_launcher") is not None:
    from fcnexp.sweep import slurm

    class SlurmLauncher(slurm.SlurmLauncher):
        """`hydra/launcher=slurm`."""
