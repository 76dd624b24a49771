"""Names of files and folders on the command line: taken as they are, whatever signs they hold.

Hydra's grammar gives a meaning to spaces, commas, brackets, quotes, `=` and letters beyond ASCII.
Here the values of `FILES` are quoted for it beforehand, unless they are in its quotes already.
"""

import os
import re
from collections.abc import Sequence

from fcnexp.config.quoting import quoted, read

# Keys whose value is a file, a folder, a list or a pattern of file names.
FILES = frozenset(
    (
        *("checkpoint", "onnx", "input", "output", "image", "run", "fields.depth", "fields.hha"),
        *("archive", "sbd_archive", "context_archive", "mat", "depth", "raw_depth"),
        *("data.root", "data.sbd_root", "data.context_root", "data.masks"),
        *("data.train_split", "data.val_split", "data.sbd_split", "data.bands"),
        *("init.path", "init.folder", "init.rgb", "init.depth", "init.hha"),
        *("init.first.path", "init.first.folder", "figure.weights", "figure.labels"),
        *("voc", "sbd", "nyud", "hydra.run.dir", "hydra.sweep.dir"),
    )
)
NOT_EXPANDED = ("hydra.run.dir", "hydra.sweep.dir")  # Hydra would create a folder `~`
ESCAPE = re.compile(r"\\[\\()\[\]{}:=, \t]")  # of Hydra's grammar, outside quotes
PIECE = re.compile(r"""\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|[^,\\])*)\s*(?:,|$)""")


def as_they_are(arguments: Sequence[str], *, sweeps: bool) -> list[str]:
    """Return the arguments with file names quoted for Hydra.

    sweeps: the command may take several values, separated by commas. A file that exists under the
    whole value is meant, whatever it holds. Otherwise Hydra's own quotes, escapes and
    interpolations keep their meaning.
    """
    return [_as_it_is(argument, sweeps=sweeps) for argument in arguments]


def _as_it_is(argument: str, *, sweeps: bool) -> str:
    key, given, value = argument.partition("=")
    if not given or not value or key.lstrip("+") not in FILES:
        return argument
    name = key.lstrip("+")
    return f"{key}={_value(name, value, sweeps=sweeps and not name.startswith('hydra.'))}"


def _value(key: str, value: str, *, sweeps: bool) -> str:
    if value.lower() == "null":
        return value
    there, parsed = os.path.lexists(value), read(f"{key}={value}")
    if not there and parsed is not None:
        meant = parsed.value()
        if isinstance(meant, str) and (value[0] in "'\"" or ESCAPE.search(value) or "${" in value):
            return value  # quoted or escaped for Hydra, or interpolated by it
        if sweeps and parsed.is_sweep_override() and not parsed.is_choice_sweep():
            return value  # a range
        if sweeps and re.match(r"(choice|glob|shuffle|sort|tag)\(", value):
            return value
    pieces = PIECE.findall(value) if sweeps and not there else []
    pieces = [piece for piece in pieces if piece]
    if len(pieces) > 1:
        return ",".join(_value(key, piece, sweeps=False) for piece in pieces)
    name = _at_home(key, value, there=there)
    if parsed is not None and not parsed.is_sweep_override() and parsed.value() == name:
        return name if "${" not in name else quoted(name)
    return quoted(name)


def _at_home(key: str, name: str, *, there: bool) -> str:
    """Return a name whose leading `~` means the home folder only if it can."""
    if not name.startswith("~"):
        return name
    home = os.path.expanduser(name)
    if name.partition("/")[0] != "~" and (there or home == name):
        return f"./{name}"
    return home if key in NOT_EXPANDED else name
