"""A run that gets more steps ends as one that had them from the start, or is refused."""

import json

import pytest
import torch
from commands import TINY, Done, fcnexp

from fcnexp.reporting.curves import LOSS, MEAN_IU, read_metric

# Constant rates, and passes that are a part of a step.
RUN = [*TINY, "regime=accum", "regime.accumulate=2", "regime.lr=1e-3", "logger=csv", "trainer=cpu"]


def train(folder, out: str, steps: int, *arguments: str) -> Done:
    given = [*RUN, f"regime.steps={steps}", f"hydra.run.dir={out}", *arguments]
    return fcnexp("train", *given, folder=folder, cache=folder)


def weights(folder) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("every", [2, 3], ids=["scored at its end", "scored after its end"])
def test_more_steps_end_at_the_same_bits(every, tmp_path):
    """At the end of the shorter run, 4 steps, its checkpoint is written in or after the loop."""
    scored = f"regime.score_every={every}"
    assert train(tmp_path, "short", 4, scored).returncode == 0
    first = (tmp_path / "short/result.json").read_text()
    done = train(tmp_path, "short", 7, scored)
    assert done.returncode == 0, done.stderr
    assert "goes on from 4 to 7 steps; short/result_after_4.json is the result so" in done.stdout
    assert "continues after step 4" in done.stdout
    assert train(tmp_path, "long", 7, scored).returncode == 0
    ours, whole = weights(tmp_path / "short"), weights(tmp_path / "long")
    assert all(torch.equal(ours[name], whole[name]) for name in whole)
    for name in ("confusion.csv", "config.yaml"):
        assert (tmp_path / "short" / name).read_text() == (tmp_path / "long" / name).read_text()
    results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("short", "long")]
    assert results[0]["scores"] == results[1]["scores"] and results[0]["steps"] == 7
    assert (tmp_path / "short/result_after_4.json").read_text() == first
    assert "done before" in train(tmp_path, "short", 7, scored).stdout


def test_curves_count_the_steps_that_were_done(tmp_path):
    """Also in a part that was resumed."""
    assert train(tmp_path, "out", 4, "regime.score_every=2").returncode == 0
    assert train(tmp_path, "out", 7, "regime.score_every=2").returncode == 0
    assert [step for step, _ in read_metric(tmp_path / "out", MEAN_IU)] == [2, 4, 6, 7]


@pytest.mark.parametrize("every", [10, 7], ids=["scored at its end", "scored after its end"])
def test_losses_are_logged_at_the_same_steps(every, tmp_path):
    given = ["regime.accumulate=1", f"regime.score_every={every}"]
    for steps in (10, 20):
        assert train(tmp_path, "out", steps, *given).returncode == 0
    assert [step for step, _ in read_metric(tmp_path / "out", LOSS)] == [10, 20]


STEPWISE = [
    "regime.schedule._target_=fcnexp.task.optim.step",
    "+regime.schedule.every=3",
    "+regime.schedule.gamma=0.5",
]


def test_rates_that_fall_by_the_step_may_go_on_too(tmp_path):
    for out, steps in (("short", 4), ("short", 7), ("long", 7)):
        done = train(tmp_path, out, steps, *STEPWISE)
        assert done.returncode == 0, done.stderr
    ours, whole = weights(tmp_path / "short"), weights(tmp_path / "long")
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


POLYNOMIAL = [
    "regime.schedule._target_=fcnexp.task.optim.polynomial",
    "+regime.schedule.power=0.9",
    "+regime.schedule.warmup=0",
]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (POLYNOMIAL, "the learning rates of regime.schedule=polynomial depend on the number of"),
        (["init=staged", "init@init.first=scratch", "model=fcn16s"], "init=staged has trained the"),
    ],
    ids=["polynomial", "staged"],
)
def test_other_runs_say_how_to_go_on(arguments, why, tmp_path):
    assert train(tmp_path, "my run", 2, *arguments).returncode == 0
    before = (tmp_path / "my run/result.json").read_text()
    done = train(tmp_path, "my run", 4, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error: hydra.run.dir=my run: a run of 2 steps, which cannot go on to 4, since {why}"
    )
    assert done.stderr.endswith(
        "; to train its weights further, choose another folder and add init=checkpoint "
        "'init.path=my run/checkpoints/last.ckpt'\n"
    )
    assert (tmp_path / "my run/result.json").read_text() == before


def test_a_net_that_was_only_scored_has_nothing_to_go_on_with(tmp_path):
    assert train(tmp_path, "out", 1).returncode == 0
    start = ["init=checkpoint", "init.path=out/checkpoints/last.ckpt"]
    assert train(tmp_path, "scored", 0, *start).returncode == 0
    assert "since it was only scored; to train" in train(tmp_path, "scored", 4, *start).stderr


def test_fewer_steps_and_jobs_of_sweeps_are_refused(tmp_path):
    assert train(tmp_path, "out", 4).returncode == 0
    assert "was started with regime.steps=4, not 2" in train(tmp_path, "out", 2).stderr
    assert train(tmp_path, "out", 6, "dry_run=true").returncode == 0
    (tmp_path / "out/job.json").write_text("{}")
    assert "it is a job of a sweep" in train(tmp_path, "out", 6).stderr
    (tmp_path / "out/job.json").unlink()
    (tmp_path / "out/checkpoints/last.ckpt").unlink()
    assert "since its checkpoints are gone; choose" in train(tmp_path, "out", 6).stderr
    assert (tmp_path / "out/result.json").exists()  # nor has the dry run touched it
