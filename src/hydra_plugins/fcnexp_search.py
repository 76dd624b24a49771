"""Sweeper of a search for Hydra, which imports this module in every command."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fcnexp.errors import ConfigError


class Search(Sweeper):
    """`hydra/sweeper=search`, which imports Optuna when it starts."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Build the search. Raises ConfigError, which Hydra would hide if the constructor did."""
        try:
            from fcnexp.search.search import Search
        except ImportError as error:
            raise ConfigError(
                f"hydra/sweeper=search: not installed ({error}); pip install -e '.[optuna]'"
            ) from None

        self.search = Search(hydra_context, task_function, config, **self.settings)

    def sweep(self, arguments: list[str]) -> None:
        """Run it."""
        self.search.run(arguments)
