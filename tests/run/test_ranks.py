"""One run in several processes gives the same results as in one."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import train_in_float64
from commands import fcnexp

from fcnexp import build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError
from fcnexp.run import trainers
from fcnexp.run.ranks import divided

PASSES = ["regime.batch_size=2", "regime.accumulate=4", "regime.loss.keep=0.5"]  # with dropout
IMAGES = ["regime.batch_size=4", "head.dropout=0"]
CASES = {
    "passes": PASSES,
    "passes with replacement": [*PASSES, "regime.sampling=with_replacement", "regime.clip=1e-3"],
    "images, mean": [*IMAGES, "regime.loss.balance=[1,2,3,4,5,6,7,8]"],
    "images, sum": [*IMAGES, "regime.loss.reduction=sum", "regime.lr=1e-7", "data.num_val=1"],
    "images, means": [*IMAGES, "regime.loss.reduction=image_means"],
    "passes, two tasks": [*PASSES, "data=rooms_surfaces"],
    "images, two tasks": [*IMAGES, "data=rooms_surfaces"],
}


class OtherLoss(torch.nn.Module):
    def __init__(self, reduction, keep, cell, balance):
        super().__init__()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """Run all cases in the same two processes; return their folder."""
    folder = tmp_path_factory.mktemp("two")
    program = [sys.executable, train_in_float64.__file__, "2", str(folder)]
    cases = json.dumps(list(CASES.values()))
    subprocess.run([*program, cases], check=True, timeout=500, cwd=folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_end_at_the_weights_of_one(case, two, tmp_path, monkeypatch):
    monkeypatch.setenv("FCNEXP_CACHE", str(two))
    number = list(CASES).index(case)
    train_in_float64.train(1, tmp_path, number, CASES[case])
    one = torch.load(tmp_path / f"{number}_0.pt")
    first, second = (torch.load(two / f"{number}_{rank}.pt") for rank in (0, 1))
    for alone, shared, other in zip(*(x["weights"] for x in (one, first, second)), strict=True):
        torch.testing.assert_close(shared, alone, rtol=1e-9, atol=1e-11)
        assert torch.equal(shared, other)
    assert torch.equal(first["matrix"], one["matrix"]) and one["matrix"].sum() > 0
    assert torch.equal(second["matrix"], one["matrix"])
    assert len(one["further"]) == ("two tasks" in case)
    for matrix, *others in zip(*(x["further"] for x in (one, first, second)), strict=True):
        assert all(torch.equal(matrix, other) for other in others)
        assert matrix.shape == (4, 4) and matrix.sum() == one["matrix"].sum()
    together = [
        sorted(sum(both, [])) for both in zip(first["passes"], second["passes"], strict=True)
    ]
    per_step = len(one["passes"]) // len(together)
    alone = [
        sum(one["passes"][i : i + per_step], []) for i in range(0, len(one["passes"]), per_step)
    ]
    assert together == [sorted(names) for names in alone]


@pytest.mark.parametrize(
    ("batch", "passes", "devices", "share"),
    [
        (1, 20, 2, (1, 10, 1, True)),
        (8, 1, 4, (2, 1, 1, False)),
        (3, 4, 2, (3, 2, 3, True)),
        (4, 3, 2, (2, 3, 1, False)),
        (1, 1, 1, (1, 1, 1, True)),
    ],
)
def test_step_is_divided(batch, passes, devices, share):
    given = [f"regime.batch_size={batch}", f"regime.accumulate={passes}"]
    cfg = check(compose_run([*given, f"trainer.devices={devices}"]))
    assert divided(cfg) == (devices, *share)


def test_indivisible_step_is_refused():
    cfg = check(compose_run(["regime=heavy", "trainer.devices=2", "trainer=cpu"]))
    with pytest.raises(ConfigError, match="batch_size=1 images .* make one of the two a multiple"):
        build.dry_run(cfg)


def test_loss_without_support_for_shared_batches_is_refused():
    given = ["trainer.devices=2", "regime.loss._target_=test_ranks.OtherLoss"]
    cfg = compose_run([*given, "regime.batch_size=2"])
    with pytest.raises(ConfigError, match="OtherLoss does not support batches shared"):
        build.build_loss(cfg, 8, None)


def test_threads_are_set(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    try:
        trainers.set_up(compose_run(["trainer.threads=3"]))
        assert torch.get_num_threads() == 3
        trainers.set_up(compose_run(["trainer.threads=null"]))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


RUN = [
    *("data.num_train=6", "data.num_val=3", "data.side=[48,56]", "backbone.widths=[4,4,6,6,8,8]"),
    *("regime.batch_size=2", "regime.steps=600", "regime.score_every=100", "workers=0"),
    *("pictures=1", "logger=csv", "trainer=cpu", "trainer.devices=2", "hydra.run.dir=out"),
]


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"fcnexp.{name}", *arguments]


@pytest.mark.slow
def test_stopped_run_saves_resumes_and_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNEXP_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "out/checkpoints/last.ckpt"
    process = subprocess.Popen(command("train", *RUN), cwd=tmp_path)
    for _ in range(2000):
        if weights.is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 143
    stopped = torch.load(weights)["global_step"]
    assert 100 <= stopped < 600
    done = subprocess.run(
        command("train", *RUN, "resume=true"), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"continues after step {stopped}") == 1  # only rank 0 prints
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["steps"] == 600 and result["images"] == 3
    given = ["checkpoint=out/checkpoints/last.ckpt", "workers=0", "trainer=cpu", "pictures=0"]
    given += ["trainer.devices=2", "trimap=[1,3]", "hydra.run.dir=again"]
    subprocess.run(command("evaluate", *given), cwd=tmp_path, check=True)
    again = json.loads((tmp_path / "again/result.json").read_text())
    assert again["scores"] == result["scores"]
    assert (tmp_path / "again/confusion.csv").read_text() == (
        tmp_path / "out/confusion.csv"
    ).read_text()


@pytest.mark.slow
def test_death_of_one_process_ends_the_other_with_a_message(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNEXP_CACHE", str(tmp_path / "cache"))
    process = subprocess.Popen(
        command("train", *RUN), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    weights = tmp_path / "out/checkpoints/last.ckpt"
    for _ in range(2000):
        if weights.is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    (other,) = psutil.Process(process.pid).children()
    other.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "error: another process of this run has ended" in said


@pytest.mark.slow
def test_sweep_job_may_have_several_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNEXP_CACHE", str(tmp_path / "cache"))
    jobs = ["-m", *RUN[:-1], "hydra/launcher=subprocess", "hydra.launcher.n_jobs=1", "seed=0"]
    short = ["regime.steps=3", "regime.score_every=3", "hydra.sweep.dir=out"]
    subprocess.run(command("train", *jobs, *short), cwd=tmp_path, check=True)
    (result,) = (tmp_path / "out").glob("*/result.json")
    assert json.loads(result.read_text())["steps"] == 3


def test_several_processes_per_job_need_the_subprocess_launcher(tmp_path):
    jobs = ["-m", *RUN[:-1], "seed=0,1", "hydra.sweep.dir=out", "dry_run=true"]
    done = fcnexp("train", *jobs, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert "trainer.devices=2: in a sweep, each job" in done.stderr
    assert "hydra/launcher=subprocess" in done.stderr
