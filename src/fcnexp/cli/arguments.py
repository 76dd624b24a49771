"""Command lines as Hydra takes them: flags before overrides, and file names quoted."""

import argparse
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from fcnexp.cli.file_names import as_they_are
from fcnexp.config import hydra_versions
from fcnexp.config.mistakes import Given, without_dashes
from fcnexp.errors import ConfigError


def prepared(arguments: Sequence[str], config_name: str) -> list[str]:
    """Return the arguments for Hydra's parser, which wants overrides in one piece.

    Raises ConfigError if a flag is unknown, its value missing or not allowed, or a key missing.
    """
    flags, overrides = _split(list(arguments), config_name)
    if nameless := [override for override in overrides if override.startswith("=")]:
        raise ConfigError(f"{nameless[0]}: no key; write KEY=VALUE, such as seed=1")
    if hydra_versions.MODE_IS_TYPED and any(each.startswith("sweeps=") for each in overrides):
        flags.append("--multirun")
    return [*flags, *as_they_are(overrides, sweeps=may_sweep(arguments))]


def may_sweep(arguments: Sequence[str]) -> bool:
    """Return True if a command may run several jobs, as far as its arguments tell."""
    for argument in arguments:
        name, _, value = argument.partition("=")
        action = _action(name) if name.startswith("-") else None
        if action is not None and action.dest in ("multirun", "config_name"):
            return True  # another config may be a sweep
        if name == "sweeps" or (name.lstrip("+") == "hydra.mode" and "MULTI" in value.upper()):
            return True
    return False


def _split(arguments: list[str], config_name: str) -> tuple[list[str], list[str]]:
    """Return Hydra's flags with their values, and the overrides. Raises ConfigError."""
    flags: list[str] = []
    overrides: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return flags, overrides + rest
        if not word.startswith("-") or word == "-":
            overrides.append(word)
            continue
        flag, given, value = word.partition("=")
        action = _action(flag)
        if action is None:
            text = value if given else next((w for w in rest[:1] if "=" not in w), None)
            raise ConfigError(without_dashes(flag, text, Given(arguments, config_name)))
        flags.append(word)
        if not given and _takes(action, rest):
            if not rest:
                raise ConfigError(f"{flag}: needs a value, such as {flag} {_example(action)}")
            value = rest.pop(0)
            flags.append(value)
        if value and action.choices and value not in action.choices:
            raise ConfigError(f"{flag} {value}: allowed are {', '.join(_allowed(action))}")
    return flags, overrides


def _action(flag: str) -> argparse.Action | None:
    """Return what Hydra's parser does at a flag, which may be a unique abbreviation, or None."""
    known = get_args_parser()._option_string_actions
    if flag in known or not flag.startswith("--"):
        return known.get(flag)
    found = [action for name, action in known.items() if name.startswith(flag)]
    return found[0] if len(found) == 1 else None


def _takes(action: argparse.Action, following: Sequence[str]) -> bool:
    """Return True if the next word is, or must be, the value of a flag."""
    return action.nargs is None or (
        action.nargs == "?" and bool(following) and following[0] in _allowed(action)
    )


def _allowed(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or ()]


def _example(action: argparse.Action) -> str:
    return next(iter(_allowed(action)), action.dest.removeprefix("config_").upper())
