"""Whether what a config logs to can work on this machine. Imports neither torch nor Lightning."""

import importlib.util
import math
from typing import Any

from fcnexp.errors import ConfigError
from fcnexp.tracking.run import MODES, refuse_without_key


def refuse_unusable(choice: Any) -> None:
    """Raise ConfigError where a logger cannot work: a wrong value, no extra, no key.

    choice: the config's node `logger`.
    """
    for key, least in (("images", 0), ("side", 1)):
        if choice[key] < least:
            raise ConfigError(f"logger.{key}={choice[key]}: {least} or more")
    if choice.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("logger=tensorboard: not installed; pip install -e '.[tensorboard]'")
    if choice.wandb is not None:
        if choice.wandb.mode not in MODES:
            raise ConfigError(
                f"logger.wandb.mode={choice.wandb.mode}: allowed are {', '.join(MODES)}; "
                "logger=csv is without W&B"
            )
        if not 0 < choice.wandb.wait < math.inf:  # NaN neither
            raise ConfigError(f"logger.wandb.wait={choice.wandb.wait:g}: seconds, above 0")
        if choice.wandb.mode == "online":
            refuse_without_key("logger=wandb_online", "logger=wandb stays on this machine")
