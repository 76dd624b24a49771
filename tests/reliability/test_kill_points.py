"""Trainings interrupted at any point resume and end bit-identical to an uninterrupted one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_points import ONE, TWO, WHEREVER, Point, overrides
from kill_runs import Trainings, differing, outcome_of, trainings

from fcnexp.errors import DataError
from fcnexp.scoring.per_image import read_per_image

SAME = {"workers": "whole"}  # variants that must give the result of another
PRINTED = {None: "Trainable parameters", "done": "done before", WHEREVER: ""}  # by resume step
CHEAP = (
    "between passes, after a checkpoint",
    "in the second validation",
    "half of the second checkpoint",
    "half of images.npz",
    "SIGTERM between passes",
    "between stages",
)


class Kills:
    """Interrupted and resumed trainings, and uninterrupted ones to compare them with."""

    def __init__(self, process: Trainings, folder: Path) -> None:
        self.process, self.folder = process, folder
        self.found: dict[tuple[str, int], dict] = {}

    def uninterrupted(self, variant: str, processes: int) -> dict:
        """Outcome of an uninterrupted training, by name."""
        key = (SAME.get(variant, variant), processes)
        if key not in self.found:
            folder = self.folder / f"{key[0]} {processes}"
            folder.mkdir()
            ended = self.process.run(overrides(*key), folder, processes=processes)
            assert ended.code == 0, ended.said
            self.found[key] = outcome_of(folder / "out")
        return self.found[key]

    def wrong_with(self, point: Point, folder: Path, processes: int) -> str:
        """Describe what is wrong after interrupting and resuming at this point; "" if nothing."""
        typed = overrides(point.variant, processes)
        settings = {"processes": processes, "fresh": point.fresh}
        # First: it writes the generated scenes, whose files would count as places too.
        expected = self.uninterrupted(point.variant, processes)
        try:
            for faults in point.runs:
                struck = self.process.run(typed, folder, faults, **settings)
                read_per_image(folder / "out")  # whole or absent
            last = self.process.run(typed, folder, **settings)
        except (AssertionError, DataError) as error:
            return str(error)
        if struck.code not in point.codes:
            return f"exit code {struck.code}"
        wrong = wrong_output(point, last.said)
        if last.code or wrong:
            return f"it resumes with exit code {last.code}, {wrong}: {last.said[-2000:]}"
        names = differing(expected, outcome_of(folder / "out"))
        return f"{len(names)} differ, such as {', '.join(names[:5])}" if names else ""

    def all_wrong(self, points: dict[str, Point], folder: Path, processes: int) -> dict[str, str]:
        """Describe what is wrong, by name of the point."""
        wrong = {}
        for name, point in points.items():
            own = folder / name
            own.mkdir()
            if said := self.wrong_with(point, own, processes):
                wrong[name] = said
        return wrong


def wrong_output(point: Point, said: str) -> str:
    """Describe what is wrong with the resumed command's output; "" if nothing."""
    expected = PRINTED.get(point.step, f"continues after step {point.step},")
    if expected not in said:
        return f"does not print '{expected}'"
    return "resumes" if point.step is None and "continues after" in said else ""


@pytest.fixture(scope="module")
def kills(tmp_path_factory) -> Iterator[Kills]:
    with trainings(tmp_path_factory.mktemp("cache")) as process:
        yield Kills(process, tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize("name", CHEAP)
def test_interrupted_training_ends_bit_identical(name, kills, tmp_path):
    assert kills.wrong_with(ONE[name], tmp_path, processes=1) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "points"), [("1 process", ONE), ("2 processes", TWO)])
def test_every_point_ends_bit_identical(words, points, kills, tmp_path, tell):
    wrong = kills.all_wrong(points, tmp_path, int(words[0]))
    tell(f"kill points, {words}: {len(points) - len(wrong)} of {len(points)} equal bits")
    assert len(points) >= 20 and wrong == {}
