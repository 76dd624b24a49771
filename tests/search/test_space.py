"""Hydra's sweep syntax as a space to search."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fcnexp.errors import ConfigError
from fcnexp.search.space import space_of


def space(*overrides: str):
    return space_of(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a=interval(1,5)", FloatDistribution(1, 5)),
        ("a=int(interval(1,5))", IntDistribution(1, 5)),
        ("a=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("a=range(1,4)", IntDistribution(1, 3)),  # as Hydra's own sweeper: without 4
        ("a=range(2,11,4)", IntDistribution(2, 10, step=4)),
        ("a=range(9,2,-3)", IntDistribution(3, 9, step=3)),
        ("a=range(0,1,0.25)", CategoricalDistribution(["0.0", "0.25", "0.5", "0.75"])),
        ("a=fcn8s,fcn16s,fcn8s", CategoricalDistribution(["fcn8s", "fcn16s"])),
        ("a=choice([1,2],[3])", CategoricalDistribution(["[1,2]", "[3]"])),
    ],
)
def test_distribution_of_each_kind_of_sweep(typed, expected):
    assert space(typed, "b=1").distributions == {"a": expected}


def test_trial_becomes_overrides_that_hydra_reads_as_the_same_values():
    found = space("+a.b=interval(0,1)", "c={x: 1},{y: 'p q'}", "d=3", "~e", "+f=g")
    (choice,) = {"{y:'p q'}", "{y:p\\ q}"} & set(found.distributions["c"].choices)
    overrides = found.overrides({"a.b": 1e-07, "c": choice})
    assert sorted(overrides)[:3] == ["+a.b=1e-07", "+f=g", f"c={choice}"]
    parsed = {o.key_or_group: o for o in OverridesParser.create().parse_overrides(overrides)}
    assert parsed["a.b"].value() == 1e-07 and parsed["c"].value() == {"y": "p q"}
    assert parsed["e"].is_delete() and parsed["d"].value() == 3


def test_last_of_equal_keys_counts():
    """The command line comes after the file of a sweep."""
    assert list(space("a=1,2", "b=1,2", "a=7").distributions) == ["b"]
    assert space("a=7", "a=1,2").fixed == {}


def test_name_of_a_space_leaves_out_what_changes_no_number():
    first = space("regime.lr=interval(0,1)", "seed=3", "logger=csv", "workers=2").describe()
    assert first == space("workers=0", "seed=3", "regime.lr=interval(0,1)").describe()
    assert first != space("regime.lr=interval(0,1)", "seed=4").describe()
    assert first != space("regime.lr=interval(0,2)", "seed=3").describe()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("a=1", "nothing to search"),
        ("a=interval(2,1)", "the lower bound comes first"),
        ("a=tag(log,interval(0,1))", "low"),
        ("a=tag(log,choice(x,y))", "log applies to"),
        ("a=tag(big,interval(0,1))", "tag big means nothing"),
        ("a=tag(log,range(1,9,2))", "exclude each other"),
        ("a=range(4,1)", "the lower bound comes first"),
    ],
)
def test_what_cannot_be_searched_is_refused(typed, words):
    with pytest.raises(ConfigError, match=words):
        space(typed)


def test_grid_needs_countable_values():
    found = space("a=range(2,11,4)", "b=x,y")
    assert found.grid() == {"a": [2, 6, 10], "b": ["x", "y"]}
    with pytest.raises(ConfigError, match="a: a grid needs choices"):
        space("a=interval(0,1)").grid()
