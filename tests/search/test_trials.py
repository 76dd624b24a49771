"""The trials of a study across launches that are interrupted anywhere, without any training."""

import random

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import TrialState

from fcnexp.errors import ConfigError
from fcnexp.search import methods
from fcnexp.search.space import space_of
from fcnexp.search.studies import Trials, open_storage

TOTAL = 12


class KilledError(Exception):
    pass


def space(*overrides: str):
    return space_of(OverridesParser.create().parse_overrides(list(overrides)))


SPACE = space("rate=tag(log,interval(1e-4,1e-1))", "depth=int(interval(1,9))", "model=x,y")


def study_in(file, space=SPACE, total=TOTAL, sampler=None, direction="maximize"):
    study = optuna.create_study(
        storage=open_storage(f"sqlite:///{file}"),
        study_name="s",
        load_if_exists=True,
        direction=direction,
    )
    choice = sampler or {"name": "random", "seed": 5}
    return Trials(
        study, space, total, methods.build_samplers(choice, 1), methods.points_of(choice, space)
    )


def score(params) -> float:
    return params["rate"] * params["depth"]


def launch(trials: Trials, killed_after: int = 10**9, fails=lambda params: False) -> None:
    """Run trials one by one; the process is killed at the given event: a choice or an ending."""
    events = 0
    while (trial := trials.next()) is not None:
        if (events := events + 1) > killed_after:
            raise KilledError
        if fails(trial.params):
            trials.study.tell(trial, state=TrialState.FAIL)
        else:
            trials.study.tell(trial, score(trial.params))
        if (events := events + 1) > killed_after:
            raise KilledError


def points(trials: Trials) -> list[dict]:
    return [t.params for t in trials.study.trials if t.state == TrialState.COMPLETE]


def test_interrupted_search_has_the_trials_of_one_that_ran_through(tmp_path):
    whole = study_in(tmp_path / "whole.db")
    launch(whole)
    chance = random.Random(0)
    for _ in range(100):
        trials = study_in(tmp_path / "killed.db")
        try:
            launch(trials, killed_after=chance.randrange(4))
            break
        except KilledError:
            pass
    assert points(trials) == points(whole) and len(points(whole)) == TOTAL
    assert len(trials.study.trials) == TOTAL  # none failed, none open
    assert trials.study.best_params == whole.study.best_params


def test_trial_killed_between_its_parameters_gets_the_others(tmp_path):
    trials = study_in(tmp_path / "a.db")
    trials.study.sampler = trials.sampler_of(0)
    begun = trials.study.ask()
    rate = begun.suggest_float("rate", 1e-4, 1e-1, log=True)
    again = study_in(tmp_path / "a.db")
    trial = again.next()
    assert trial.number == 0 and trial.params["rate"] == rate
    assert set(trial.params) == {"rate", "depth", "model"}
    assert again.describe() == f"0 done, {TOTAL - 1} new"  # of it, nothing is left to choose


def test_total_counts_all_launches_and_may_grow(tmp_path):
    launch(study_in(tmp_path / "a.db", total=5))
    again = study_in(tmp_path / "a.db", total=5)
    assert again.describe() == "5 done, 0 new" and again.next() is None
    more = study_in(tmp_path / "a.db", total=7)
    launch(more)
    assert len(points(more)) == 7
    assert len({tuple(p.values()) for p in points(more)}) == 7  # other points, in spite of the seed


def test_failed_trials_run_once_more_in_each_launch(tmp_path):
    deep = lambda params: params["depth"] > 5  # noqa: E731
    first = study_in(tmp_path / "a.db")
    launch(first, fails=deep)
    failed = [t.params for t in first.study.trials if t.state == TrialState.FAIL]
    assert failed and len(first.study.trials) == TOTAL
    second = study_in(tmp_path / "a.db")
    assert f"{len(failed)} that failed, once more, 0 new" in second.describe()
    launch(second, fails=deep)
    retried = [t for t in second.study.trials if t.user_attrs.get("retry_of") is not None]
    assert [t.params for t in retried] == failed and all(deep(t.params) for t in retried)
    third = study_in(tmp_path / "a.db")
    launch(third)
    assert len(points(third)) == TOTAL
    assert study_in(tmp_path / "a.db").next() is None


def test_retry_that_was_killed_before_it_began_is_not_queued_twice(tmp_path):
    launch(study_in(tmp_path / "a.db", total=3), fails=lambda params: True)
    study_in(tmp_path / "a.db", total=3)  # queues three, and is killed
    again = study_in(tmp_path / "a.db", total=3)
    launch(again)
    assert len(points(again)) == 3 and len(again.study.trials) == 6


def test_grid_ends_with_its_last_point_and_repeats_failed_ones(tmp_path):
    small, depths = space("depth=range(0,3)", "model=x,y"), [0, 0, 1, 1, 2, 2]
    given = {"space": small, "total": 20, "sampler": "grid"}

    def run(fails) -> list[int]:
        trials = study_in(tmp_path / "a.db", **given)
        begun = []
        while (trial := trials.next()) is not None:
            begun.append(trial.params["depth"])
            state = TrialState.FAIL if fails(trial.params) else TrialState.COMPLETE
            trials.study.tell(trial, None if fails(trial.params) else 1.0, state=state)
        return begun

    assert run(lambda params: params["depth"] == 1) == depths
    assert run(lambda params: False) == [1, 1]
    assert run(lambda params: False) == []
    assert len({tuple(p.items()) for p in points(study_in(tmp_path / "a.db", **given))}) == 6


def test_grid_with_a_seed_is_shuffled_and_may_be_cut_short(tmp_path):
    small, begun = space("depth=range(0,9)"), []
    for total in (3, 5):
        trials = study_in(
            tmp_path / "a.db", space=small, total=total, sampler={"name": "grid", "seed": 1}
        )
        while (trial := trials.next()) is not None:
            begun.append(trial.params["depth"])
            trials.study.tell(trial, 1.0)
    assert len(set(begun)) == 5 == len(begun) and begun != sorted(begun)


@pytest.mark.parametrize("name", ["tpe", "TPESampler", "random", "nsgaii", "cma_es", "QMC", "gp"])
def test_samplers_by_name(name):
    sampler = methods.build_samplers({"name": name, "seed": 1}, 2)(3)
    assert type(sampler).__name__.lower().startswith(name.lower().replace("_", "")[:4])


@pytest.mark.parametrize(
    ("build", "choice", "words"),
    [
        ("samplers", "tpee", "no such sampler.*tpe"),
        ("samplers", {"name": "tpe", "sed": 1}, "no such argument.*seed"),
        ("samplers", "partialfixed", "no such sampler"),
        ("points", "grid", "a grid needs choices"),
        ("pruner", "medain", "no such pruner.*median"),
        ("pruner", {"name": "median", "n_warmup_steps": -1}, "MedianPruner: "),
        ("pruner", {"name": "threshold"}, "ThresholdPruner: "),
        ("objectives", [], "list one or more of miou"),
        ("objectives", ["miou", "miou"], "each once"),
        ("objectives", ["miuo"], "miou"),
    ],
)
def test_wrong_method_is_refused_with_those_that_exist(build, choice, words):
    with pytest.raises(ConfigError, match=words):
        if build == "samplers":
            methods.build_samplers(choice, 1)
        elif build == "points":
            methods.points_of(choice, SPACE)
        elif build == "pruner":
            methods.build_pruner(choice)
        else:
            methods.check_objectives(choice)


def test_values_of_a_record_are_scores_and_costs():
    record = {"scores": {"miou": 0.5}, "ms_per_image": 12.5, "peak_memory": None}
    assert methods.values_of(record, ["miou", "ms_per_image"]) == [0.5, 12.5]
    assert methods.values_of(record, ["miou", "peak_memory"]) is None
