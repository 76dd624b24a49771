"""Keep secrets out of configs, which are written to records, logs, reports and W&B."""

import os
import re
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from fcnexp.errors import ConfigError

SECRET = re.compile(  # names; neither `tokenizer` nor `keys`
    r"((api|secret|access|private)_?key|token|secret|passw(or)?d|passphrase|credential)s?(?![a-z])"
    r"|(^|_)key$",
    re.IGNORECASE,
)
PAIR = re.compile(r"""(\w+)['"]?\s*:[\s\[]*('[^']*'|"[^"]*"|[^,{}\[\]]+)""")  # within a value
SHORTEST = 12  # characters; shorter values of such names are flags or words, not secrets
INSTEAD = (
    "overrides are written to records and logs; for W&B's key, use `wandb login` or WANDB_API_KEY"
)


def refuse_secrets(arguments: Sequence[str]) -> None:
    """Raise ConfigError if a command line holds a secret, naming its key but not its value."""
    held = {
        name: value
        for name, value in os.environ.items()
        if SECRET.search(name) and len(value) >= SHORTEST
    }
    for argument in arguments:
        key, given, value = argument.partition("=")
        for name in (name for name, secret in held.items() if secret in argument):
            where = key if given and held[name] in value else "an argument"
            raise ConfigError(f"{where}: holds the value of {name}; remove it: {INSTEAD}")
        if any(SECRET.search(name) for name in re.findall(r"oc\.env:\s*(\w+)", argument)):
            raise ConfigError(f"{argument}: secrets do not belong in a config: {INSTEAD}")
        key = key.lstrip("+~")
        last = re.split(r"[.@/]", key)[-1]
        for name, inner in [(last, value), *PAIR.findall(value)]:
            if SECRET.search(name) and _may_be_secret(inner):
                where = key if name == last else f"{key}: {name}"
                raise ConfigError(f"{where}: secrets do not belong in a config: {INSTEAD}")


def _may_be_secret(value: str) -> bool:
    """True if one of the values is long enough and not a number."""
    quoted = value[:1] in ("'", '"')  # a comma inside quotes does not separate values
    values = [each.strip(" '\"[]") for each in ([value] if quoted else value.split(","))]
    return any(len(each) >= SHORTEST and not _is_number(each) for each in values)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def withhold_secrets() -> None:
    """Keep configs of this process from reading secrets from the environment.

    Only command lines call this, since they write their configs to disk.
    """
    OmegaConf.register_new_resolver("oc.env", environment, replace=True)


def environment(name: str, *default: Any) -> str | None:
    """Value of `${oc.env:NAME,DEFAULT}`. Raises ConfigError if it may be a secret."""
    if SECRET.search(name):
        raise ConfigError(f"${{oc.env:{name}}}: secrets do not belong in a config: {INSTEAD}")
    return oc.env(name, *default)
