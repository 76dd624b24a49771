"""Keeping secrets out of configs, which are written to records, logs, reports and W&B."""

import os
import re
from collections.abc import Sequence
from typing import Any

from omegaconf.resolvers import oc

from fcnexp.errors import ConfigError

SECRET = re.compile(r"(api_?key|token|secret|passw|credential)|(^|_)key$", re.IGNORECASE)
SHORTEST = 12  # characters; shorter values of such variables are flags, not secrets
INSTEAD = "what is typed is written to records and logs; W&B's key: `wandb login`, or WANDB_API_KEY"


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise ConfigError where a command line holds a secret, naming its key but not its value."""
    held = {
        name: value
        for name, value in os.environ.items()
        if SECRET.search(name) and len(value) >= SHORTEST
    }
    for argument in arguments:
        key, given, value = argument.partition("=")
        for name in (name for name, secret in held.items() if secret in argument):
            where = key if given and held[name] in value else "an argument"
            raise ConfigError(f"{where}: holds the value of {name}; leave it out: {INSTEAD}")
        if any(SECRET.search(name) for name in re.findall(r"oc\.env:\s*(\w+)", argument)):
            raise ConfigError(f"{argument}: a secret is no part of a config: {INSTEAD}")
        last = re.split(r"[.@/]", key.lstrip("+~"))[-1]
        if given and SECRET.search(last) and value not in ("", "null"):
            raise ConfigError(f"{key.lstrip('+~')}: a secret is no part of a config: {INSTEAD}")


def environment(name: str, *default: Any) -> str | None:
    """What `${oc.env:NAME,DEFAULT}` stands for. Raises ConfigError where that may be a secret."""
    if SECRET.search(name):
        raise ConfigError(f"${{oc.env:{name}}}: a secret is no part of a config: {INSTEAD}")
    return oc.env(name, *default)
