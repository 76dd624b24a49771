"""Searches as commands: one study over all launches, pruning, several objectives, warm start."""

import csv
import json
import os
import random
import signal
import time
from collections import Counter

import optuna
import pytest
import yaml
from commands import TINY, call, fcnexp
from made_up_trials import SEARCH, start, task
from optuna.trial import TrialState

from fcnexp.sweep import command

QUICK = [*TINY, "pictures=0", "logger=csv", "trainer=cpu"]
RATES = "regime.lr=tag(log,interval(1e-4,1e-1))"


def search(*arguments: str, folder, launcher: str = "in_process"):
    """A search of made-up trials in this process."""
    own = [*SEARCH[:-1], f"hydra/launcher={launcher}", "logger=csv", *arguments]
    return call(lambda: command.run(task), *own, folder=folder, cache=folder)


def study_in(folder) -> optuna.Study:
    storage = f"sqlite:///{folder}/out/study.db"
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage)


def trials_csv(folder) -> list[dict[str, str]]:
    with (folder / "out/search/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_same_command_ends_with_its_total_and_finds_the_best(tmp_path):
    given = [RATES, "seed=range(0,3)", "hydra.sweeper.sampler={name:random,seed:3}"]
    first = search(*given, "hydra.sweeper.n_trials=4", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "search for the best miou: 0 done, 4 new" in first.stdout
    again = search(*given, "hydra.sweeper.n_trials=6", folder=tmp_path)
    assert "search for the best miou: 4 done, 2 new" in again.stdout
    study = study_in(tmp_path)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 6
    for trial in study.trials:
        job = json.loads((tmp_path / trial.user_attrs["folder"] / "job.json").read_text())
        assert job["number"] == trial.number and job["state"] == "done"
        assert f"seed={trial.params['seed']}" in job["overrides"]
    (best,) = yaml.safe_load((tmp_path / "out/search/best.yaml").read_text())
    assert best["values"] == {"miou": max(t.value for t in study.trials)}
    assert best["settings"] == study.best_params
    assert [row["state"] for row in trials_csv(tmp_path)] == ["done"] * 6
    assert {f.name for f in (tmp_path / "out/search").glob("*.png")} == {
        *("history.png", "importances.png", "parallel.png")
    }


def test_several_objectives_have_a_front(tmp_path):
    """A higher seed costs time and score alike, so one trial beats all others of its rate."""
    given = ["seed=0,1,2", "regime.lr=1e-3,1e-2", "hydra.sweeper.sampler=grid"]
    done = search(*given, "hydra.sweeper.objectives=[miou,ms_per_image]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Trials that no other beats (6 done)" in done.stdout
    best = yaml.safe_load((tmp_path / "out/search/best.yaml").read_text())
    assert [b["settings"] for b in best] == [{"seed": "0", "regime.lr": "0.001"}]
    assert best[0]["values"] == {"miou": pytest.approx(1), "ms_per_image": 10}
    assert (tmp_path / "out/search/front.png").exists()


def test_warm_start_learns_from_finished_runs_and_repeats_none(tmp_path):
    search("seed=range(0,4)", "regime.lr=1e-3", "hydra.sweeper.sampler=grid", folder=tmp_path)
    (tmp_path / "out").rename(tmp_path / "before")
    given = ["seed=range(1,9)", "regime.lr=1e-3", "hydra.sweeper.warm_start=before"]
    given += ["hydra.sweeper.n_trials=2", "hydra.sweeper.sampler={name:random,seed:0}"]
    for _ in range(2):
        done = search(*given, folder=tmp_path)
        assert "warm start from 3 of 4 finished runs" in done.stdout  # seed 0 is outside
    study = study_in(tmp_path)
    assert {t.params["seed"] for t in study.trials[:3]} == {1, 2, 3}
    assert len(study.trials) == 5 and len(list((tmp_path / "out").glob("*/job.json"))) == 2
    assert Counter(row["state"] for row in trials_csv(tmp_path)) == {"warm start": 3, "done": 2}


def test_failed_trial_does_not_stop_the_search(tmp_path):
    """Rates above 1 are refused, here by a real training."""
    given = ["regime.lr=0.5,2", "hydra.sweeper.sampler=grid", *QUICK]
    own = ["-m", "hydra/sweeper=search", "hydra.sweep.dir=out"]
    done = fcnexp("train", *own, *given, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and "regime.lr=2" in done.stderr
    states = {t.params["regime.lr"]: t.state.name for t in study_in(tmp_path).trials}
    assert states == {"0.5": "COMPLETE", "2": "FAIL"}


@pytest.mark.parametrize("launcher", ["in_process", "subprocess"])
def test_fail_fast_chooses_no_further_trial(tmp_path, launcher):
    """Both rates are refused; the next launch retries the first and goes no further, either."""
    given = ["regime.lr=2,3", "hydra.sweeper.sampler=grid", "fail_fast=true", *QUICK]
    own = ["-m", "hydra/sweeper=search", "hydra.sweep.dir=out", f"hydra/launcher={launcher}"]
    for tried in (1, 2):
        done = fcnexp("train", *own, *given, folder=tmp_path, cache=tmp_path)
        assert done.returncode == 1 and "no trial has finished" in done.stderr
        states = [t.state for t in study_in(tmp_path).trials]
        assert states.count(TrialState.FAIL) == tried and TrialState.RUNNING not in states


def test_search_without_finished_trials_is_reported(tmp_path):
    for storage in ("null", "sqlite:///study.db"):
        done = fcnexp(
            *("train", "-m", "hydra/sweeper=search", "regime.lr=2,3", "hydra.sweeper.n_trials=1"),
            *("trainer=cpu", f"hydra.sweeper.storage={storage}"),
            folder=tmp_path,
            cache=tmp_path,
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "no trial has finished (1 failed)" in done.stderr


def test_dry_run_of_a_search_checks_one_trial_and_writes_nothing(tmp_path):
    for rate, code, message in (
        ("interval(0.5,1)", 0, "only its first trial was checked"),
        ("interval(2,3)", 1, "regime.lr="),
    ):
        given = [*SEARCH, f"regime.lr={rate}", "dry_run=true", "trainer=cpu"]
        done = fcnexp("train", *given, folder=tmp_path, cache=tmp_path)
        assert done.returncode == code and message in done.stdout + done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("seed=3", "nothing to search"),
        ("hydra.sweeper.n_trials=0", "n_trials=0: must be 1 or more"),
        ("hydra.sweeper.sampler=tpee", "no such sampler (did you mean tpe?)"),
        ("hydra.sweeper.objectives=[miuo]", "did you mean miou?"),
        ("hydra.sweeper.storage=nowhere://x", "storage=nowhere://x: cannot be opened"),
        ("hydra.sweeper.pruner=medain", "no such pruner (did you mean median?)"),
        ("hydra.sweeper.direction=maximize", "direction"),
        ("hydra.sweeper.warm_start=[nowhere]", "nowhere: no such folder"),
    ],
)
def test_mistake_is_one_line(tmp_path, given, words):
    varied = [] if given.startswith("seed") else ["seed=0,1"]
    done = search(*varied, given, folder=tmp_path)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr


def test_search_that_would_not_wait_for_scores_is_refused(tmp_path):
    slurm = ["hydra/launcher=slurm", "hydra.launcher.wait=false"]
    typed = ["-m", "hydra/sweeper=search", "seed=0,1", *slurm, "hydra.sweep.dir=out"]
    done = fcnexp("train", *typed, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "hydra.launcher.wait=false: a search chooses trials by" in done.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["hydra.sweeper.objectives=[miou,parameters]"], "a single objective"),
        (["hydra.sweeper.objectives=[fw_iou]"], "it watches miou, not fw_iou"),
        (["hydra.sweeper.storage=null"], "needs a hydra.sweeper.storage"),
        (["hydra/launcher=joblib"], "works on one machine"),
    ],
)
def test_pruner_that_cannot_work_is_refused(tmp_path, given, words):
    done = search("seed=0,1", "hydra.sweeper.pruner=median", *given, folder=tmp_path)
    assert done.returncode == 1 and words in done.stderr


def test_lagging_trial_ends_after_a_scoring_and_is_told_as_pruned(tmp_path):
    """No trial reaches the threshold; a pruner that starts after step 3 lets it be scored twice."""
    own = ["-m", "hydra/sweeper=search", "hydra.sweep.dir=out", "regime.lr=1e-2,1e-3", *QUICK]
    own += ["hydra.sweeper.sampler=grid", "regime.steps=8"]
    own += ["hydra.sweeper.pruner={name:threshold,lower:0.99,n_warmup_steps:3}"]
    done = fcnexp("train", *own, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and "2 pruned" in done.stderr
    assert len(study_in(tmp_path).trials) == 2
    for trial in study_in(tmp_path).trials:
        assert trial.state == TrialState.PRUNED and set(trial.intermediate_values) == {2, 4}
        folder = tmp_path / trial.user_attrs["folder"]
        result = json.loads((folder / "result.json").read_text())
        assert result["stopped_early"].startswith("pruned, as mean IU") and result["steps"] == 4
        assert result["scores"]["miou"] == pytest.approx(trial.value)
        assert trial.value == trial.intermediate_values[4]
    assert {row["state"] for row in trials_csv(tmp_path)} == {"pruned"}
    assert {row["step"] for row in trials_csv(tmp_path)} == {"4"}
    again = fcnexp("train", *own, folder=tmp_path, cache=tmp_path)
    assert "0 done, 2 pruned, 0 new" in again.stdout and len(study_in(tmp_path).trials) == 2
    alone = [o for o in json.loads((folder / "job.json").read_text())["overrides"]]
    fcnexp("train", *alone, "hydra.run.dir=alone", folder=tmp_path, cache=tmp_path)
    assert json.loads((tmp_path / "alone/result.json").read_text())["steps"] == 8


@pytest.mark.slow
def test_search_killed_ten_times_ends_with_its_total_and_the_same_best(tmp_path):
    """KILL and TERM, of the command alone (its jobs go on) or of a job, at random times."""
    given = [RATES, "seed=0", "hydra.launcher.n_jobs=2", "logger=csv"]
    given += ["hydra.sweeper.sampler={name:random,seed:7}", "hydra.sweeper.n_trials=14"]
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    whole = start(*given, folder=tmp_path / "whole")
    assert whole.wait(300) == 0
    chance, kills = random.Random(1), 0
    folder = tmp_path / "killed"
    while kills < 10:
        process = start(*given, folder=folder, seconds=8)
        time.sleep(4 + 6 * chance.random())
        if process.poll() is not None:
            break
        kills += 1
        number = chance.choice([signal.SIGKILL, signal.SIGTERM])
        if kills % 3 == 0:  # a job; the command goes on, and is then killed as well
            running = [json.loads(f.read_text()) for f in folder.glob("out/*/job.json")]
            for job in [job for job in running if job["state"] == "running"][:1]:
                os.kill(job["pid"], number)
            time.sleep(1)
        process.send_signal(number)
        process.communicate(timeout=100)
    for _ in range(3):  # trials whose job was killed have failed, and run once more
        process = start(*given, folder=folder)
        process.communicate(timeout=300)
    ended, expected = study_in(folder), study_in(tmp_path / "whole")
    done = [t for t in ended.trials if t.state == TrialState.COMPLETE]
    assert kills >= 8 and len(done) == 14
    assert all(t.state in (TrialState.COMPLETE, TrialState.FAIL) for t in ended.trials)
    key = lambda trial: trial.params["regime.lr"]  # noqa: E731
    assert sorted(map(key, done)) == sorted(map(key, expected.trials))
    assert ended.best_params == expected.best_params and ended.best_value == expected.best_value
    finished = Counter(line.split()[0] for line in (folder / "calls").read_text().splitlines())
    assert len(finished) == 14  # no other point was ever begun
