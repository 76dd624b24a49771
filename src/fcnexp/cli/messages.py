"""Error messages for the user: one line instead of a traceback."""

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnexp.config.compose import compose_run, conf_dir
from fcnexp.config.values import did_you_mean, key_paths, plain_message
from fcnexp.errors import UserError
from fcnexp.system import os_errors

# Options that plugins provide, and the extra of pyproject.toml that installs each.
EXTRAS = {"joblib": "sweep", "submitit_local": "sweep", "submitit_slurm": "sweep"}
EXTRAS |= {"optuna": "optuna"}
MISTAKES = (UserError, HydraException, OmegaConfBaseException)


def fail(error: Exception, config_name: str = "train") -> NoReturn:
    """Print the message of a user's mistake and exit with code 1."""
    print(f"error: {mistake(error, config_name)}", file=sys.stderr)
    raise SystemExit(1)


def fail_or_raise(error: Exception, config_name: str, folder: Path | None = None) -> NoReturn:
    """Print the message of an error and exit with code 1; re-raise it if it is a bug of ours.

    folder: of the run, if it has started.
    """
    message = message_of(error, config_name, folder)
    if message is None:
        raise error
    sys.unraisablehook = lambda _: None  # half-built objects; the error itself is printed here
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def message_of(
    error: BaseException, config_name: str, folder: Path | None = None, again: str = ""
) -> str | None:
    """Message for a user's mistake or a system error; None for a bug of ours.

    folder: of the run. again: how to resume, if not by the same command.
    """
    if isinstance(error, UserError):
        return mistake(error, config_name)
    command = os_errors.COMMANDS.get(config_name, os_errors.ANY)
    if (message := os_errors.message_for(error, command, folder)) is None:
        return mistake(error, config_name) if isinstance(error, MISTAKES) else None
    return f"{message}; then {again or _how_to_resume(folder)}"


def _how_to_resume(folder: Path | None) -> str:
    """Advice on what to type once the system error is cured."""
    if folder is None or not (folder / "checkpoints").is_dir():
        return "run the same command again"
    from fcnexp.run import run_folder  # slow to import

    with suppress(UserError, OSError, MemoryError, RuntimeError):
        stopped = run_folder.last_checkpoint(folder)
        step = 0 if stopped is None else stopped.step
        return f"the same command with hydra.run.dir={folder} continues from step {step}"
    return f"the same command with hydra.run.dir={folder} continues"


def mistake(error: Exception, config_name: str = "train") -> str:
    """Message for a user's mistake."""
    message = str(error) if isinstance(error, UserError) else explain(error, config_name)
    # An error raised in a data loader's process carries that process's traceback in its text.
    return message.rsplit(f"{type(error).__module__}.{type(error).__name__}: ", 1)[-1].strip()


def explain(error: Exception, config_name: str) -> str:
    """Shorten Hydra's message about an override, and add the nearest existing name."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read as KEY=VALUE ({text.splitlines()[0]}); quote a "
            "value with special characters twice, as in 'data.root=\"~/VOC\"'"
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1]
        key = getattr(error.__cause__, "full_key", None) or key  # a key inside a dict
        return no_such_key(key, _config_of_choices(config_name))
    if found := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        if extra := EXTRAS.get(found[2]):
            return f"{found[1]}={found[2]}: not installed; pip install -e '.[{extra}]'"
        homes = (conf_dir(), conf_dir().parent)  # the parent holds `sweeps`
        options = sorted(p.stem for home in homes for p in (home / found[1]).glob("*.yaml"))
        near = did_you_mean(found[2], options)
        return f"{found[1]}={found[2]}: no such option{near}; choose one of {', '.join(options)}"
    return plain_message(error)


def no_such_key(key: str, config: dict) -> str:
    """Message for a key that the config lacks: the nearest key, and the keys of its node."""
    parent = key.rpartition(".")[0]
    node = OmegaConf.select(OmegaConf.create(config), parent) if parent else None
    own = [str(name) for name in node or () if not str(name).startswith("_")]
    has = f"; {parent} has {', '.join(own)}" if own else ""
    inside = [path for path in key_paths(config) if path.endswith(f".{key}")]
    near = f" (did you mean {inside[0]}?)" if inside else did_you_mean(key, key_paths(config))
    return f"{key}: no such key{near}{has}; --cfg job prints them all"


def _config_of_choices(config_name: str) -> dict:
    """Config composed from the options on the command line, without the values given there."""
    chosen = [a for a in sys.argv[1:] if re.fullmatch(r"\w+=\w+", a)]
    for overrides in (chosen, []):  # the mistake may be one of the choices
        try:
            config = OmegaConf.to_container(compose_run(overrides, config_name), resolve=False)
        except HydraException:
            continue
        assert isinstance(config, dict)
        return config
    return {}
