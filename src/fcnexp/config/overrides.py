"""The config of overrides that a program passes, checked like a typed command."""

from collections.abc import Sequence

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.config.mistakes import Given, explain
from fcnexp.errors import ConfigError


def checked(overrides: Sequence[str]) -> DictConfig:
    """Return the config that `train` would get from these overrides. Raises ConfigError."""
    given = [overrides] if isinstance(overrides, str) else list(overrides)
    try:
        return check(compose_run(given))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, Given(given, typed=False))) from None
