"""A training may be ended anywhere: the same command ends at the bits of an undisturbed one."""

import kill_points
import pytest
from kill_points import ONE, VARIANTS, WHEREVER, Point
from kill_runs import Trainings, differing, trainings, what_came_of

TOLD = {None: "What learns", "done": "done before", WHEREVER: ""}
SAME = {"workers": "whole"}  # variants that are to end where another does


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A process that forks trainings, and a place for those that are not disturbed."""
    with trainings(tmp_path_factory.mktemp("cache")) as process:
        yield process, tmp_path_factory.mktemp("undisturbed"), {}


def undisturbed(warm, variant: str, processes: int):
    process, folder, found = warm
    variant = SAME.get(variant, variant)
    key = (variant, processes)
    if key not in found:
        own = folder / f"{variant} {processes}"
        own.mkdir()
        ended = process.run(VARIANTS[variant], own, processes=processes)
        assert ended.code == 0, ended.said
        found[key] = what_came_of(own / "out")
    return found[key]


def wrong_with(warm, point: Point, folder, processes: int) -> str:
    """What is not as it is to be when a training is ended so and begun again; "" if all is well."""
    process: Trainings = warm[0]
    overrides, codes = VARIANTS[point.variant], []
    try:
        for faults in point.runs:
            ended = process.run(overrides, folder, faults, processes)
            codes.append(ended.code)
            if ended.left:
                return f"processes are left over: {ended.left}"
        if ended.code not in point.codes:
            return f"exit code {ended.code}: {ended.said[-1500:]}"
        ended = process.run(overrides, folder, processes=processes)
    except AssertionError as error:
        return str(error)
    told = TOLD.get(point.step, f"continues after step {point.step},")
    if ended.code or ended.left or told not in ended.said:
        return f"code {ended.code}, left {ended.left}, not {told!r}: {ended.said[-2000:]}"
    if point.step is None and "continues after" in ended.said:
        return f"does not begin anew: {ended.said}"
    differ = differing(undisturbed(warm, point.variant, processes), what_came_of(folder / "out"))
    return f"{len(differ)} differ: {differ[:5]}" if differ else ""


def all_wrong(warm, points: dict[str, Point], folder, processes: int) -> dict[str, str]:
    wrong = {}
    for name, point in points.items():
        own = folder / name
        own.mkdir()
        if said := wrong_with(warm, point, own, processes):
            wrong[name] = said
    return wrong
