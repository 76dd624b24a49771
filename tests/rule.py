"""One rule for all inputs: they are read correctly, or refused by name.

Refused means a UserError whose message names the file or key; for a command, exit code 1 and only
that message, on one line.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from commands import Done

from fcnexp.errors import UserError

REFUSED, DONE = "refused", "done"
KINDS = ("silent", "unnamed", "traceback", "refused")  # ways to break the rule


class Case(NamedTuple):
    """One input. act: reads it and returns the result.

    wanted: the correct result, `DONE` for a command, or `REFUSED`. named: the message must contain
    one of these words.
    """

    name: str
    act: Callable[[], Any]
    wanted: Any
    named: Sequence[str]


class Counted(NamedTuple):
    """Number of cases, and descriptions of those that broke the rule, by kind."""

    cases: int
    broken: dict[str, list[str]]

    def line(self) -> str:
        """Summary in one line."""
        silent, unnamed, traceback, refused = (len(self.broken[kind]) for kind in KINDS)
        return (
            f"{self.cases} cases, {silent} silent passes, {unnamed} messages without file or key, "
            f"{traceback} tracebacks, {refused} good ones refused"
        )

    def troubles(self) -> str:
        """Cases that broke the rule, one per line."""
        return "\n".join(f"{kind}: {line}" for kind in KINDS for line in self.broken[kind])


def together(parts: Iterable[Counted]) -> Counted:
    """Sum of several counts."""
    each = list(parts)
    broken = {kind: [line for one in each for line in one.broken[kind]] for kind in KINDS}
    return Counted(sum(one.cases for one in each), broken)


def judged(cases: Iterable[Case]) -> Counted:
    """Judge every case by the rule."""
    broken: dict[str, list[str]] = {kind: [] for kind in KINDS}
    count = 0
    for case in cases:
        count += 1
        kind, words = verdict(case)
        if kind:
            broken[kind].append(f"{case.name}: {words}")
    return Counted(count, broken)


def verdict(case: Case) -> tuple[str, str]:
    """Return how a case breaks the rule, one of `KINDS`, and why; empty if it does not."""
    try:
        found = case.act()
    except UserError as error:
        return refusal(case, str(error))
    except Exception as error:  # a user sees its traceback
        return "traceback", f"{type(error).__name__}: {error}"[:300]
    if isinstance(found, Done):
        if found.returncode:
            lines = found.stderr.splitlines()
            if found.returncode != 1 or len(lines) != 1 or not lines[0].startswith("error: "):
                return "traceback", f"exit code {found.returncode}, {found.stderr[-600:]}"
            return refusal(case, lines[0])
        found = DONE
    if case.wanted is REFUSED:
        return "silent", f"accepted as {found}"[:200]
    return ("", "") if found == case.wanted else ("silent", f"read as {found}"[:200])


def refusal(case: Case, message: str) -> tuple[str, str]:
    """Return the verdict on a case that was refused with this message."""
    if case.wanted is not REFUSED:
        return "refused", message
    if any(word in message for word in case.named):
        return "", ""
    return "unnamed", f"{message}, without {' or '.join(case.named)}"
