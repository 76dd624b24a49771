"""Keep secrets out of configs, which are written to records, logs, reports and W&B."""

import os
import re
from collections.abc import Sequence
from typing import Any

from omegaconf.resolvers import oc

from fcnexp.config.hydra_versions import register_resolver
from fcnexp.errors import ConfigError

SECRET = re.compile(  # names; neither `tokenizer` nor `keys`
    r"((api|secret|access|private)_?key|token|secret|passw(or)?d|passphrase|credential)s?(?![a-z])"
    r"|(^|_)key$",
    re.IGNORECASE,
)
VARIABLE = re.compile(  # more names, of environment variables alone: a key `author` is harmless
    r"pwd|pass$|(^|_)auth(_|$)|cookie|(^|_)pat$|dsn$|conn(ection)?_?str|bearer|(^|_)sas(_|$)",
    re.IGNORECASE,
)
FOLDERS = ("PWD", "OLDPWD")  # of the shell
FORMATS = re.compile(  # values by which services tell their keys, whatever they are called
    r"\b(hf_|gh[opsu]_|github_pat_|glpat-|sk-(proj-|ant-)?|pypi-|npm_)\w{16,}"
    r"|\bxox[abps]-[\w-]{10,}|\b(AKIA|ASIA)[A-Z0-9]{16}\b|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{6,}\.[\w-]{6,}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\w+://[^/\s:@]*:[^/\s@]+@"  # a URL with a password
)
RANDOM = re.compile(r"(?<![^\W_])[^\W_]{20,}(?![^\W_])")  # letters and digits, as W&B's keys
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
        if FORMATS.search(value if given else argument):
            where = key if given else "an argument"
            raise ConfigError(f"{where}: its value looks like a key or password; {INSTEAD}")
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
    register_resolver("oc.env", environment)


def environment(name: str, *default: Any) -> str | None:
    """Value of `${oc.env:NAME,DEFAULT}`. Raises ConfigError if name or value may be a secret's."""
    if SECRET.search(name) or (VARIABLE.search(name) and name.upper() not in FOLDERS):
        raise ConfigError(f"${{oc.env:{name}}}: secrets do not belong in a config: {INSTEAD}")
    value = oc.env(name, *default)
    if isinstance(value, str) and _looks_secret(value):
        raise ConfigError(
            f"${{oc.env:{name}}}: its value looks like a key or password, which do not belong in "
            f"a config: {INSTEAD}"
        )
    return value


def refuse_stored(config: Any, path: str = "") -> None:
    """Raise ConfigError, naming the key but not the value, if a plain config holds a secret.

    Config files may hold what no command line did. Interpolations are left to `environment`.
    """
    pairs = config.items() if isinstance(config, dict) else enumerate(config)
    for key, value in pairs:
        inner = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict | list):
            refuse_stored(value, inner)
        elif isinstance(value, str) and "${" not in value:
            named = SECRET.search(str(key)) and _may_be_secret(value)
            if named or FORMATS.search(value):
                raise ConfigError(f"{inner}: secrets do not belong in a config: {INSTEAD}")


def _looks_secret(value: str) -> bool:
    """True if a value has the format of a service's key, or a word of mixed letters and digits.

    The parts of a path are no keys, however random.
    """
    if FORMATS.search(value):
        return True
    words = [] if "/" in value else RANDOM.findall(value)
    return any(sum(map(str.isdigit, word)) in range(3, len(word) - 2) for word in words)
