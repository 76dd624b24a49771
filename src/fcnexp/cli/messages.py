"""Error messages for the user: one line instead of a traceback."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fcnexp.config.mistakes import Given, explain
from fcnexp.errors import UserError
from fcnexp.system import os_errors
from fcnexp.system.visible import visible

MISTAKES = (UserError, HydraException, OmegaConfBaseException)


def fail(error: Exception, config_name: str = "train") -> NoReturn:
    """Print the message of a user's mistake and exit with code 1."""
    print(f"error: {visible(mistake(error, config_name))}", file=sys.stderr)
    raise SystemExit(1)


def fail_or_raise(error: Exception, config_name: str, folder: Path | None = None) -> NoReturn:
    """Print the message of an error and exit with code 1; re-raise it if it is a bug of ours.

    folder: of the run, if it has started.
    """
    if isinstance(error, BrokenPipeError):  # a reader of our output, such as `head`, saw enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # of Python's last flush
        raise SystemExit(128 + signal.SIGPIPE)
    message = message_of(error, config_name, folder)
    if message is None:
        raise error
    sys.unraisablehook = lambda _: None  # half-built objects; the error itself is printed here
    print(f"error: {visible(message)}", file=sys.stderr)
    raise SystemExit(1)


def message_of(
    error: BaseException, config_name: str, folder: Path | None = None, again: str = ""
) -> str | None:
    """Message for a user's mistake or a system error; None for a bug of ours.

    folder: of the run. again: how to resume, if not by the same command.
    """
    first = os_errors.uncovered(error)
    if isinstance(first, UserError):
        return mistake(first, config_name)
    command = os_errors.COMMANDS.get(config_name, os_errors.ANY)
    if (message := os_errors.message_for(error, command, folder)) is None:
        return mistake(first, config_name) if isinstance(first, MISTAKES) else None
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
    given = Given(sys.argv[1:], config_name)
    message = str(error) if isinstance(error, UserError) else explain(error, given)
    # An error raised in a data loader's process carries that process's traceback in its text.
    return message.rsplit(f"{type(error).__module__}.{type(error).__name__}: ", 1)[-1].strip()
