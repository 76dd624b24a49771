"""A training may be ended anywhere: the same command ends at the bits of an undisturbed one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_points import ONE, TWO, WHEREVER, Point, overrides
from kill_runs import Trainings, differing, trainings, what_came_of

SAME = {"workers": "whole"}  # variants that are to end where another does
TOLD = {None: "Trainable parameters", "done": "done before", WHEREVER: ""}  # by resume step
CHEAP = (
    "between passes, behind a checkpoint",
    "in the second scoring",
    "half of the second checkpoint",
    "SIGTERM between passes",
    "between stages",
)


class Kills:
    """Trainings that are ended and begun again, and undisturbed ones to compare them with."""

    def __init__(self, process: Trainings, folder: Path) -> None:
        self.process, self.folder = process, folder
        self.found: dict[tuple[str, int], dict] = {}

    def undisturbed(self, variant: str, processes: int) -> dict:
        """What came of it, by name."""
        key = (SAME.get(variant, variant), processes)
        if key not in self.found:
            folder = self.folder / f"{key[0]} {processes}"
            folder.mkdir()
            ended = self.process.run(overrides(*key), folder, processes=processes)
            assert ended.code == 0, ended.said
            self.found[key] = what_came_of(folder / "out")
        return self.found[key]

    def wrong_with(self, point: Point, folder: Path, processes: int) -> str:
        """What is not as it is to be where a training is ended so and begun again; "" if all is."""
        typed = overrides(point.variant, processes)
        settings = {"processes": processes, "fresh": point.fresh}
        try:
            for faults in point.runs:
                struck = self.process.run(typed, folder, faults, **settings)
            last = self.process.run(typed, folder, **settings)
        except AssertionError as error:
            return str(error)
        if struck.code not in point.codes:
            return f"exit code {struck.code}"
        wrong = wrong_words(point, last.said)
        if last.code or wrong:
            return f"it goes on with exit code {last.code}, {wrong}: {last.said[-2000:]}"
        names = differing(self.undisturbed(point.variant, processes), what_came_of(folder / "out"))
        return f"{len(names)} differ, such as {', '.join(names[:5])}" if names else ""

    def all_wrong(self, points: dict[str, Point], folder: Path, processes: int) -> dict[str, str]:
        """What is wrong, by name of the point."""
        wrong = {}
        for name, point in points.items():
            own = folder / name
            own.mkdir()
            if said := self.wrong_with(point, own, processes):
                wrong[name] = said
        return wrong


def wrong_words(point: Point, said: str) -> str:
    """What is wrong with what the command said that went on; "" if nothing is."""
    told = TOLD.get(point.step, f"continues after step {point.step},")
    if told not in said:
        return f"does not say '{told}'"
    return "goes on" if point.step is None and "continues after" in said else ""


@pytest.fixture(scope="module")
def kills(tmp_path_factory) -> Iterator[Kills]:
    with trainings(tmp_path_factory.mktemp("cache")) as process:
        yield Kills(process, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("name", CHEAP)
def test_training_that_was_ended_ends_at_the_same_bits(name, kills, tmp_path):
    assert kills.wrong_with(ONE[name], tmp_path, processes=1) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "points"), [("1 process", ONE), ("2 processes", TWO)])
def test_no_point_is_an_exception(words, points, kills, tmp_path, tell):
    wrong = kills.all_wrong(points, tmp_path, int(words[0]))
    tell(f"kill points, {words}: {len(points) - len(wrong)} of {len(points)} equal bits")
    assert len(points) >= 20 and wrong == {}
