"""Callbacks, loggers and arguments of Lightning's Trainer in whole runs."""

import json
from typing import Any

import pytest
import torch
from commands import TINY, Done, fcnexp
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import DummyLogger
from omegaconf import OmegaConf

from fcnexp.run.epochs import steps_of
from fcnexp.scoring.per_image import read_per_image

HERE = "test_open_trainer"  # as a module, which pytest has put on sys.path
RUN = [*TINY, "trainer=cpu", "logger=csv", "hydra.run.dir=out"]


class Steps(Callback):
    """Somebody's own callback: counts steps. least: an argument."""

    seen: list[int] = []  # noqa: RUF012  # of the last run

    def __init__(self, least: int) -> None:
        Steps.seen, self.least = [], least

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step >= self.least:
            Steps.seen.append(trainer.global_step)


class Memory(DummyLogger):
    """Somebody's own logger: keeps what it gets."""

    got: dict[str, Any] = {}  # noqa: RUF012  # of the last run

    def __init__(self) -> None:
        super().__init__()
        Memory.got = {}

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        Memory.got["hyperparameters"] = params

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        Memory.got |= metrics


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def train(*words: str, folder, cache) -> Done:
    return fcnexp("train", *RUN, *words, folder=folder, cache=cache)


def result(folder) -> dict:
    return json.loads((folder / "out/result.json").read_text())


def test_early_stopping_ends_a_whole_run(tmp_path, cache):
    """No score rises by 100 points, so the second scoring is one too many."""
    words = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1"]
    words += ["callbacks.early_stopping.min_delta=1"]
    done = train(*words, folder=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    record = result(tmp_path)
    assert record["steps"] == 4 and "val/miou did not improve" in record["stopped_early"]
    assert "stopped at step 4 of 5: Monitored metric val/miou did not improve" in done.stdout
    assert "Signaling" not in done.stdout
    assert len(read_per_image(tmp_path / "out").names) == 3  # counts of single images, too
    assert len(list((tmp_path / "out/pictures").glob("*.png"))) >= 2
    assert train(*words, folder=tmp_path, cache=cache).stdout.count("done before") == 1


def test_average_is_what_is_scored_stored_and_labels(tmp_path, cache):
    words = ["callbacks=ema", "callbacks.ema.decay=0.6", "callbacks.ema.warmup=false"]
    words += ["keep_best=true", "regime.steps=2"]  # one scoring, within the training
    done = train(*words, folder=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    last, best = (
        torch.load(tmp_path / f"out/checkpoints/{name}.ckpt", weights_only=True)
        for name in ("last", "best")
    )
    trained, average = last["current_model_state"], last["state_dict"]
    assert any(not torch.equal(trained[name], average[name]) for name in average)
    assert all(torch.equal(best["state_dict"][name], average[name]) for name in average)
    assert "optimizer_states" not in best and "current_model_state" not in best
    record = result(tmp_path)
    assert record["stopped_early"] is None and record["best"]["step"] == record["steps"] == 2
    words = ["checkpoint=out/checkpoints/last.ckpt", "trainer=cpu", "workers=0", "pictures=0"]
    done = fcnexp("evaluate", *words, "hydra.run.dir=e", folder=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "e/result.json").read_text())["scores"] == record["scores"]


def test_time_is_limited_and_the_run_is_scored(tmp_path, cache):
    words = ["+trainer.max_time=00:00:00:01", "regime.steps=100000", "regime.score_every=50000"]
    done = train(*words, folder=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    record = result(tmp_path)
    assert 0 < record["steps"] < 50000 and record["stopped_early"] == "the time is over"
    assert record["scores"]["miou"] is not None and (tmp_path / "out/images.npz").is_file()


def test_own_callback_own_logger_and_profiler(tmp_path, cache):
    words = [f"+callbacks.mine._target_={HERE}.Steps", "+callbacks.mine.least=3"]
    words += [f"+logger.others.mine._target_={HERE}.Memory", "+trainer.profiler=simple"]
    done = train(*words, folder=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    assert Steps.seen == [3, 4, 5]
    assert Memory.got["hyperparameters"]["regime"]["steps"] == 5
    assert Memory.got["val/miou"] == pytest.approx(result(tmp_path)["scores"]["miou"], abs=1e-6)
    assert "run_training_batch" in (tmp_path / "out/fit-profile.txt").read_text()
    config = OmegaConf.load(tmp_path / "out/config.yaml")
    assert config.trainer.profiler == "simple" and config.callbacks.mine.least == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["callbacks=ema", "callbacks.ema.decay=2"], "callbacks.ema: decay=2"),
        (["callbacks=early_stopping", "callbacks.early_stopping.mode=up"], "callbacks.early_stop"),
        (
            ["+logger.others.m._target_=lightning.pytorch.loggers.CometLogger"],
            "logger.others.m: ",
        ),
        (["+trainer.max_time.lightyears=1"], "{'lightyears': 1}: Lightning's Trainer refuses it"),
        (["+trainer.max_epochs=2"], "two lengths of the training; remove one of them"),
    ],
)
def test_what_lightning_refuses_is_one_line(words, message, tmp_path, cache):
    done = train(*words, folder=tmp_path, cache=cache)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


def test_epochs_are_steps(tmp_path, cache):
    """Six images in batches of two: two epochs are six steps."""
    words = [word for word in RUN if not word.startswith("regime.steps")]
    words += ["+trainer.max_epochs=2", "pictures=0"]
    done = fcnexp("train", *words, folder=tmp_path, cache=cache)
    assert done.returncode == 0, done.stderr
    assert "2 epochs of 6 images: 6 steps" in done.stdout and result(tmp_path)["steps"] == 6
    assert OmegaConf.load(tmp_path / "out/config.yaml").regime.steps == 6
    again = fcnexp("train", *words, folder=tmp_path, cache=cache)
    assert "done before" in again.stdout


@pytest.mark.parametrize(
    ("images", "batch", "passes", "epochs", "limit", "steps"),
    [
        (600, 8, 1, 20, None, 1500),
        (7, 2, 1, 1, None, 4),  # the last batch goes on into the next epoch
        (7, 2, 3, 2, None, 3),  # 8 batches
        (600, 8, 1, 20, 10, 200),
        (600, 8, 1, 20, 0.2, 300),
        (600, 8, 1, 1, 5000, 75),
        (3, 8, 4, 1, 0.1, 1),
    ],
)
def test_steps_of_epochs(images, batch, passes, epochs, limit, steps):
    trainer = {"max_epochs": epochs} | ({} if limit is None else {"limit_train_batches": limit})
    regime = {"batch_size": batch, "accumulate": passes}
    assert steps_of(OmegaConf.create({"regime": regime, "trainer": trainer}), images) == steps
