"""Figures that these tests found, told at the end of the run."""

from collections.abc import Callable

import pytest
from hypothesis import settings

TOLD = "reliability"

# The same cases each time: a failure is not to depend on the day. No deadline: machines differ.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture
def tell(record_property) -> Callable[[str], None]:
    """Takes a line that is printed when all tests are done, in whatever process."""
    return lambda line: record_property(TOLD, line)


def pytest_terminal_summary(terminalreporter) -> None:
    lines = [
        line
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, line in getattr(report, "user_properties", ())
        if name == TOLD and getattr(report, "when", None) == "call"
    ]
    if lines:
        terminalreporter.section("reliability")
        for line in sorted(lines):
            terminalreporter.write_line(line)
