"""Overrides in Hydra's grammar and in the shell's: text quoted so that both read it as it is."""

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

KEY = re.compile(r"(?:\+{0,2}|~)[\w$][\w.$/@:-]*")  # that Hydra's grammar allows
INTERPOLATION = re.compile(r"(\\*)\$\{")


def read(argument: str) -> Override | None:
    """Return an override as Hydra reads it, or None if it cannot."""
    try:
        return OverridesParser.create().parse_overrides([argument])[0]
    except HydraException:
        return None


def quoted(text: str) -> str:
    """Return text in quotes, so that Hydra reads it as it is and OmegaConf interpolates nothing."""
    plain = INTERPOLATION.sub(lambda found: f"{found[1] * 2}\\${{", text)
    return QuotedString(plain, Quote.double).with_quotes()


def pasted(key: str, text: str) -> str:
    """Return the argument for a POSIX shell that gives a key this text as its value."""
    plain = read(f"{key}={text}")
    same = plain is not None and not plain.is_sweep_override() and plain.value() == text
    return shlex.quote(f"{key}={text if same and '${' not in text else quoted(text)}")
