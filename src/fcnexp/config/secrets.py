"""Keeping secrets out of configs, which are written to records, logs, reports and W&B."""

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
        key = key.lstrip("+~")
        last = re.split(r"[.@/]", key)[-1]
        for name, inner in [(last, value), *PAIR.findall(value)]:
            if SECRET.search(name) and _may_be_secret(inner):
                where = key if name == last else f"{key}: {name}"
                raise ConfigError(f"{where}: a secret is no part of a config: {INSTEAD}")


def _may_be_secret(value: str) -> bool:
    """Whether one of the values typed is long enough and no number."""
    quoted = value[:1] in ("'", '"')  # a comma in it separates nothing
    values = [each.strip(" '\"[]") for each in ([value] if quoted else value.split(","))]
    return any(len(each) >= SHORTEST and not _is_number(each) for each in values)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def withhold_secrets() -> None:
    """Let no config of this process ask the environment for a secret.

    For command lines, which write their configs down; what a program does with its own is its own.
    """
    OmegaConf.register_new_resolver("oc.env", environment, replace=True)


def environment(name: str, *default: Any) -> str | None:
    """What `${oc.env:NAME,DEFAULT}` stands for. Raises ConfigError where that may be a secret."""
    if SECRET.search(name):
        raise ConfigError(f"${{oc.env:{name}}}: a secret is no part of a config: {INSTEAD}")
    return oc.env(name, *default)
