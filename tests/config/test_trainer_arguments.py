"""Every argument of Lightning's Trainer is ours, passed on, or refused with another key."""

import inspect
import re
from functools import cache

import lightning as L
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict

from fcnexp.config.callback_checks import REFUSED as REFUSED_CALLBACKS
from fcnexp.config.compose import compose_run, conf_dir
from fcnexp.config.job_names import digest_of
from fcnexp.config.overrides import checked
from fcnexp.config.schema import EvaluateConfig, RunConfig
from fcnexp.config.trainer_arguments import FREE, PASSED, REFUSED, check_arguments
from fcnexp.config.values import typed
from fcnexp.errors import ConfigError

OURS = set(OmegaConf.load(conf_dir() / "trainer/auto.yaml"))
VALUES = {
    "profiler": "simple",
    "max_epochs": 3,
    "max_time": "00:00:10:00",
    "min_steps": 5,
    "strategy": "ddp",
    "num_nodes": 1,
    "limit_train_batches": 0.5,
    "log_every_n_steps": 7,
}


def test_every_argument_has_its_place():
    theirs = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    assert theirs <= OURS | set(PASSED) | set(REFUSED), "new in Lightning: decide about it"
    assert not OURS & {*PASSED, *REFUSED} and not {*PASSED} & {*REFUSED}
    assert set(PASSED) <= theirs


@cache
def base() -> DictConfig:
    return compose_run(["data=shapes"])


def added(**arguments) -> DictConfig:
    """The config with `+trainer.NAME=VALUE` for each argument, without composing it again."""
    cfg = base().copy()
    with open_dict(cfg.trainer):
        cfg.trainer.update(arguments)
    return cfg


def test_passed_arguments_reach_the_config_as_typed():
    cfg = checked([f"+trainer.{name}={VALUES.get(name, True)}" for name in PASSED])
    for name in PASSED:
        assert cfg.trainer[name] == VALUES.get(name, True)
    assert cfg.trainer.devices == 1


def test_identity_counts_what_changes_numbers():
    plain = digest_of(base())
    same = {n for n in PASSED if digest_of(added(**{n: VALUES.get(n, True)})) == plain}
    assert same == set(FREE)
    assert {"profiler", "detect_anomaly"} < same and not {"max_time", "max_epochs"} & same


@pytest.mark.parametrize("name", REFUSED)
def test_refused_arguments_are_answered_with_a_key_that_exists(name):
    with pytest.raises(ConfigError) as error:
        typed(added(**{name: 1}), RunConfig)
    text = str(error.value)
    assert text == f"trainer.{name}: not passed to Lightning's Trainer; {REFUSED[name]}"
    for key in re.findall(r"(?<![+\w])((?:regime|trainer|data)\.\w+)=?", REFUSED[name]):
        known = OmegaConf.select(base(), key, default="none") != "none"
        assert known or key in ("data.train_split", "data.val_split"), key  # of data in folders


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("num_nodes=2", "trainer.num_nodes=2: the processes of a run share one machine"),
        ("strategy=fsdp", "trainer.strategy=fsdp: allowed are auto, ddp, ddp_find_unused"),
        ("profiler=fast", "trainer.profiler=fast: allowed are simple, advanced, pytorch"),
        ("max_time=soon", "must be days:hours:minutes:seconds, such as 00:12:00:00"),
        ("max_epochs=-1", "trainer.max_epochs=-1: must be a whole number, 1 or more"),
        ("limit_train_batches=10", "shortens epochs, and this run counts steps"),
        ("presicion=32", "trainer.presicion: no such key (did you mean trainer.precision?)"),
    ],
)
def test_values_that_break_a_promise_are_refused(words, message):
    with pytest.raises(ConfigError) as error:
        checked([f"+trainer.{words}"])
    assert message in str(error.value)


@pytest.mark.parametrize("limit", [0, 1.5, -0.1, True, "all"])
def test_limits_are_numbers_of_batches_or_fractions(limit):
    with pytest.raises(ConfigError, match="must be a number of batches, such as 10, or a fraction"):
        check_arguments({"max_epochs": 1, "limit_train_batches": limit})


def test_evaluate_takes_no_arguments():
    cfg = OmegaConf.create({"trainer": {"profiler": "simple"}})
    with pytest.raises(ConfigError, match="trainer.profiler"):
        typed(cfg, EvaluateConfig)


@pytest.mark.parametrize("option", ["ema", "early_stopping", "timer"])
def test_callbacks_count_and_their_absence_is_as_before(option):
    assert digest_of(compose_run([f"callbacks={option}"])) != digest_of(base())
    unset = compose_run([f"callbacks={option}", f"callbacks.{option}=null"])
    assert digest_of(unset) == digest_of(base())


def test_configs_older_than_callbacks_keep_their_identity():
    older = base().copy()
    with open_dict(older):
        del older["callbacks"]
    assert digest_of(older) == digest_of(base())


@pytest.mark.parametrize("kind", REFUSED_CALLBACKS)
def test_refused_callbacks_exist_in_lightning(kind):
    assert hasattr(L.pytorch.callbacks, kind)
    with pytest.raises(ConfigError, match=f"callbacks.mine: {kind}: "):
        checked([f"+callbacks.mine._target_=lightning.pytorch.callbacks.{kind}"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+callbacks.mine=3", "callbacks.mine=3: must name a class by `_target_`"),
        ("+logger.others.mine.x=3", "logger.others.mine={'x': 3}: must name a class"),
        ("callbacks.early_stopping.monitor=val_loss", "monitor=val_loss: allowed are val/miou, "),
        ("callbacks.early_stopping.patiense=3", "did you mean"),
        ("callbacks=default", "callbacks=default: no such option"),
    ],
)
def test_wrong_entries_are_refused(word, message):
    chosen = ["callbacks=early_stopping"] if "early" in word else []
    with pytest.raises(ConfigError) as error:
        checked([*chosen, word])
    assert message in str(error.value)
