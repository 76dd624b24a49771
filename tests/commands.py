"""Commands as a user types them, run in this process."""

import contextlib
import importlib
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

TINY = [
    *("backbone.widths=[4,4,6,6,8,8]", "data.num_train=6", "data.num_val=3", "data.side=[48,56]"),
    *("regime.steps=5", "regime.score_every=2", "regime.batch_size=2", "workers=0", "pictures=2"),
]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def activated() -> str:
    """PATH of a shell in which this Python's environment is active."""
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])


def fcnexp(command: str, *arguments: str, folder: Path, cache: Path) -> Done:
    """Run `python -m fcnexp.COMMAND ARGUMENTS` in a folder, in this process to save imports."""
    main = importlib.import_module(f"fcnexp.{command}").main
    return call(main, *arguments, folder=folder, cache=cache, name=f"{command}.py")


def call(
    main: Callable[[], None], *arguments: str, folder: Path, cache: Path, name: str = "program.py"
) -> Done:
    """Run a program's main function in a folder, with these command-line arguments."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, {"FCNEXP_CACHE": str(cache)}),
        mock.patch.object(sys, "argv", [name, *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:  # the folder of Hydra's log file may be removed next
            for handler in [h for h in logging.root.handlers if type(h) is logging.FileHandler]:
                logging.root.removeHandler(handler)
    return Done(code, out.getvalue(), err.getvalue())
