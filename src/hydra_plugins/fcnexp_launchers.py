"""Where Hydra looks for plugins, in a package that all of them share: it has no __init__.py."""

from fcnexp.sweep import launcher


class InProcessLauncher(launcher.InProcessLauncher):
    """`hydra/launcher=in_process`."""


class SubprocessLauncher(launcher.SubprocessLauncher):
    """`hydra/launcher=subprocess`."""
