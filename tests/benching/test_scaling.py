"""Reports and plots of part `scale`: growing inputs and memory."""

import itertools

import pytest
import torch

from fcnexp.benching import leaks
from fcnexp.benching.plot import panel
from fcnexp.benching.tables import Row, Table


def samples(*held):
    return [
        Row("training", facts={"after": 10 * i, "GiB": gib, leaks.IN_USE: used, "objects": count})
        for i, (gib, used, count) in enumerate(held, start=1)
    ]


def test_growth_covers_the_second_half():
    text = leaks.growth(samples((1, 1, 0), (3, 2, 9), (3.5, 2, 9), (4, 2.25, 11)))
    assert text.startswith("From 20 to 40: +1024.0 MiB held; +256.0 MiB in use")
    assert text.endswith("+2 Python objects.")
    held_only = leaks.growth(samples((1, None, 0), (1, None, 0)))
    assert held_only == "From 10 to 20: +0.0 MiB held; +0 Python objects."


def test_a_leak_is_measured(monkeypatch):
    kept = []
    some = 10 * 2**20  # 40 MiB
    monkeypatch.setattr(leaks, "held", lambda device: sum(x.nbytes for x in kept))
    rows = leaks.sampled("", lambda: kept.append(torch.ones(some)), 5, torch.device("cpu"))
    assert [row.facts["after"] for row in rows] == [1, 2, 3, 4, 5]
    assert [1024 * row.facts["GiB"] for row in rows] == [40, 80, 120, 160, 200]


@pytest.mark.parametrize("able", [False, True])
def test_memory_in_use_is_measured_if_freed_memory_can_be_returned(monkeypatch, able):
    taken = [3 * 2**30, 2**30]
    monkeypatch.setattr(leaks, "held", lambda device: taken.pop(0) if able else 2**30)
    monkeypatch.setattr(leaks, "trim", lambda device: able)
    (row,) = leaks.sampled("", lambda: None, 1, torch.device("cpu"))
    assert (row.facts["GiB"], row.facts[leaks.IN_USE]) == ((3, 1) if able else (1, None))


def test_sizes_are_mixed_endless_and_reproducible():
    first, again = (list(itertools.islice(leaks.mixed_sizes(), 500)) for _ in range(2))
    assert first == again and len({tuple(size) for size in first}) > 400
    sides = {side for size in first for side in size}
    assert (min(sides), max(sides)) == leaks.SIDES


@pytest.mark.parametrize(
    ("facts", "y", "height"),
    [
        ({"side": 256, "images": 1}, "seconds an image", 4),
        ({"images at once": 2, "images": 2}, "images a second", 0.5),
        ({"workers": 1, "images": 8}, "images a second", 2),
        ({"jobs at once": 2, "jobs": 2}, "jobs a minute", 30),
    ],
)
def test_panels_plot_rates_over_the_quantity_varied(facts, y, height):
    found = panel(Table("Title", [Row("fcnexp", [3.0, 4.0, 9.0], facts)]))
    x = next(iter(facts))
    assert (found.x, found.y) == (x, y)
    assert found.lines == {"fcnexp": ([facts[x]], [height])}
    assert found.log == (x == "side")


def test_memory_is_plotted_as_held_and_in_use():
    found = panel(Table("Title", samples((2, 1, 0), (3, 1.5, 0))))
    assert found.lines == {"GiB": ([10, 20], [2, 3]), leaks.IN_USE: ([10, 20], [1, 1.5])}
    assert list(panel(Table("", samples((2, None, 0)))).lines) == ["GiB"]
