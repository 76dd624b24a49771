"""Local launchers for Hydra, which finds plugins in this shared package without __init__.py."""

from fcnexp.sweep import launcher


class InProcessLauncher(launcher.InProcessLauncher):
    """`hydra/launcher=in_process`."""


class SubprocessLauncher(launcher.SubprocessLauncher):
    """`hydra/launcher=subprocess`."""
