"""Figures measured by these tests, printed at the end of the run."""

from collections.abc import Callable, Iterator

import properties
import pytest
from hypothesis import settings

TOLD, TRIED = "reliability", "examples"

# The same cases each time, so that failures are reproducible. No deadline, since machines differ.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
# New cases each time, to search for more failures: --hypothesis-profile=thorough.
settings.register_profile(
    "thorough", max_examples=2000, deadline=None, database=None, print_blob=True
)
settings.load_profile("repeatable")


@pytest.fixture
def tell(record_property) -> Callable[[str], None]:
    """Return a function that records a line to print after all tests, from any process."""
    return lambda line: record_property(TOLD, line)


@pytest.fixture(autouse=True)
def examples(record_property) -> Iterator[None]:
    """Count the examples of a property test."""
    before = properties.tried.total()
    yield
    if tried := properties.tried.total() - before:
        record_property(TRIED, tried)


def pytest_terminal_summary(terminalreporter) -> None:
    lines = recorded(terminalreporter, TOLD, "call")
    if tried := recorded(terminalreporter, TRIED, "teardown"):
        lines.append(f"properties: {len(tried)} tests, {sum(tried):,} examples")
    if lines:
        terminalreporter.section("reliability")
        for line in sorted(lines):
            terminalreporter.write_line(line)


def recorded(terminalreporter, name: str, when: str) -> list:
    """Values that tests recorded under a name until the end of `setup`, `call` or `teardown`."""
    return [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, value in getattr(report, "user_properties", ())
        if key == name and getattr(report, "when", None) == when
    ]
