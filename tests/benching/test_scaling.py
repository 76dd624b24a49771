"""What is said, and drawn, of growing inputs and of memory."""

import itertools

import pytest
import torch

from fcnexp.benching import leaks
from fcnexp.benching.plot import panel
from fcnexp.benching.tables import Row, Table


def looks(*held):
    return [
        Row("training", facts={"after": 10 * i, "GiB": gib, leaks.IN_USE: used, "objects": count})
        for i, (gib, used, count) in enumerate(held, start=1)
    ]


def test_growth_is_that_of_the_second_half():
    told = leaks.growth(looks((1, 1, 0), (3, 2, 9), (3.5, 2, 9), (4, 2.25, 11)))
    assert told.startswith("From 20 to 40: +1024.0 MiB; +256.0 MiB of what is in use")
    assert told.endswith("+2 Python objects.")
    alone = leaks.growth(looks((1, None, 0), (1, None, 0)))
    assert alone == "From 10 to 20: +0.0 MiB; +0 Python objects."


def test_memory_that_is_kept_is_seen(monkeypatch):
    kept = []
    some = 10 * 2**20  # 40 MiB
    monkeypatch.setattr(leaks, "held", lambda device: sum(x.nbytes for x in kept))
    rows = leaks.looked_at("", lambda: kept.append(torch.ones(some)), 5, torch.device("cpu"))
    assert [row.facts["after"] for row in rows] == [1, 2, 3, 4, 5]
    assert [1024 * row.facts["GiB"] for row in rows] == [40, 80, 120, 160, 200]


@pytest.mark.parametrize("able", [False, True])
def test_what_is_in_use_is_told_where_the_rest_can_be_given_back(monkeypatch, able):
    taken = [3 * 2**30, 2**30]
    monkeypatch.setattr(leaks, "held", lambda device: taken.pop(0) if able else 2**30)
    monkeypatch.setattr(leaks, "give_back", lambda device: able)
    (row,) = leaks.looked_at("", lambda: None, 1, torch.device("cpu"))
    assert (row.facts["GiB"], row.facts[leaks.IN_USE]) == ((3, 1) if able else (1, None))


def test_sizes_are_mixed_without_end_and_the_same_each_time():
    first, again = (list(itertools.islice(leaks.mixed_sizes(), 500)) for _ in range(2))
    assert first == again and len({tuple(size) for size in first}) > 400
    sides = {side for size in first for side in size}
    assert (min(sides), max(sides)) == leaks.SIDES


@pytest.mark.parametrize(
    ("facts", "upwards", "height"),
    [
        ({"side": 256, "images": 1}, "seconds an image", 4),
        ({"images at once": 2, "images": 2}, "images a second", 0.5),
        ({"workers": 1, "images": 8}, "images a second", 2),
        ({"jobs at once": 2, "jobs": 2}, "jobs a minute", 30),
    ],
)
def test_panels_draw_rates_by_what_is_varied(facts, upwards, height):
    found = panel(Table("Title", [Row("fcnexp", [3.0, 4.0, 9.0], facts)]))
    across = next(iter(facts))
    assert (found.across, found.upwards) == (across, upwards)
    assert found.lines == {"fcnexp": ([facts[across]], [height])}
    assert found.log == (across == "side")


def test_memory_is_drawn_as_held_and_as_in_use():
    found = panel(Table("Title", looks((2, 1, 0), (3, 1.5, 0))))
    assert found.lines == {"GiB": ([10, 20], [2, 3]), leaks.IN_USE: ([10, 20], [1, 1.5])}
    assert list(panel(Table("", looks((2, None, 0)))).lines) == ["GiB"]
