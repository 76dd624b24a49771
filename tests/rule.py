"""One rule for whatever people feed fcnexp: it is taken for what it rightly is, or refused by name.

Refused is a UserError whose message names the file or the key; of a command, exit code 1 and that
message alone, in one line.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from commands import Done

from fcnexp.errors import UserError

REFUSED, DONE = "refused", "done"
KINDS = ("silent", "unnamed", "traceback", "refused")  # ways to break the rule


class Case(NamedTuple):
    """act: feeds it, and gives what is made of it. wanted: that, `DONE` of a command, or `REFUSED`.

    named: words of which the message has to hold one.
    """

    name: str
    act: Callable[[], Any]
    wanted: Any
    named: Sequence[str]


class Counted(NamedTuple):
    """How many cases there were, and what is to be said of each that broke the rule, by kind."""

    cases: int
    broken: dict[str, list[str]]

    def line(self) -> str:
        """The figures in one line."""
        silent, unnamed, traceback, refused = (len(self.broken[kind]) for kind in KINDS)
        return (
            f"{self.cases} cases, {silent} silent passes, {unnamed} messages without file or key, "
            f"{traceback} tracebacks, {refused} good ones refused"
        )

    def troubles(self) -> str:
        """All that broke the rule, a line each."""
        return "\n".join(f"{kind}: {line}" for kind in KINDS for line in self.broken[kind])


def together(parts: Iterable[Counted]) -> Counted:
    """The sum."""
    each = list(parts)
    broken = {kind: [line for one in each for line in one.broken[kind]] for kind in KINDS}
    return Counted(sum(one.cases for one in each), broken)


def judged(cases: Iterable[Case]) -> Counted:
    """Every case, judged by the rule."""
    broken: dict[str, list[str]] = {kind: [] for kind in KINDS}
    count = 0
    for case in cases:
        count += 1
        kind, words = verdict(case)
        if kind:
            broken[kind].append(f"{case.name}: {words}")
    return Counted(count, broken)


def verdict(case: Case) -> tuple[str, str]:
    """How a case breaks the rule, one of `KINDS`, and what was seen; empty where it does not."""
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
        return "silent", f"taken, as {found}"[:200]
    return ("", "") if found == case.wanted else ("silent", f"taken for {found}"[:200])


def refusal(case: Case, message: str) -> tuple[str, str]:
    """The same of a case that was refused with this message."""
    if case.wanted is not REFUSED:
        return "refused", message
    if any(word in message for word in case.named):
        return "", ""
    return "unnamed", f"{message}, without {' or '.join(case.named)}"
