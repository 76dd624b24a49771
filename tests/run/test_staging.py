"""Staged runs train the coarser nets first; interrupted runs resume."""

import json
import re
from pathlib import Path

import pytest
import torch
from commands import TINY, fcnexp
from places import SHARED

from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.run.run_folder import differences, finished
from fcnexp.run.staging import stages

SMALL = [*TINY, "logger=csv", "trainer=cpu", "hydra.run.dir=out"]
STAGED = [*SMALL, "model=fcn8s", "init=staged", "init@init.first=scratch", "init.lr=10"]


def weights(folder) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"]


def same(first, second) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    done = fcnexp("train", *STAGED, folder=folder, cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_each_stage_has_its_own_result(staged):
    folder, said = staged
    for place, name in (("stages/fcn32s", "fcn32s"), ("stages/fcn16s", "fcn16s"), (".", "fcn8s")):
        assert json.loads((folder / "out" / place / "result.json").read_text())["steps"] == 5
        assert f"{name}, in" in said
    assert said.count("Trainable parameters") == 3


def test_learning_rates_fall_from_stage_to_stage_as_released():
    cfg = check(compose_run(["experiment=voc_fcn8s"]))
    trainings = stages(cfg, Path("out"))
    assert [stage.cfg.regime.lr for stage in trainings] == pytest.approx([1e-10, 1e-12, 1e-14])
    assert [list(stage.cfg.model.skips) for stage in trainings] == [[], [16], [16, 8]]
    assert trainings[0].cfg.init._target_.endswith("imagenet")


@pytest.mark.parametrize(
    ("overrides", "rates"),
    [
        (["backbone=vgg16", "regime=heavy"], [1e-10, 1e-12, 1e-14]),
        (["backbone=vgg16", "regime=accum"], [1e-4, 1e-6, 1e-8]),
        (["backbone=alexnet", "regime=accum"], [1e-3] * 3),  # not in the paper: all equal
        ([], [2e-3] * 3),
    ],
)
def test_learning_rates_follow_regime_and_backbone(overrides, rates):
    cfg = check(compose_run([*overrides, "model=fcn8s", "init=staged"]))
    found = [stage.cfg.regime.lr for stage in stages(cfg, Path("out"))]
    assert found == pytest.approx(rates)


def test_each_stage_may_have_its_own_learning_rate(tmp_path):
    """`init.lr` lists factors relative to the next stage, coarsest first."""
    cfg = compose_run(["model=fcn8s", "init=staged", "init.lr=[100,10]", "regime.lr=1e-4"])
    rates = [stage.cfg.regime.lr for stage in stages(cfg, tmp_path)]
    assert rates == pytest.approx([1e-1, 1e-3, 1e-4])


def test_stages_finer_than_8s_use_the_rate_of_8s(tmp_path):
    """Sec. 4.2: each stage has 1/100 of the previous rate; below 8s no rate is published."""
    for model, rates in (
        ("fcn8s", [1e-4, 1e-6, 1e-8]),
        ("fcn2s", [1e-4, 1e-6, 1e-8, 1e-8, 1e-8]),
    ):
        cfg = compose_run(["experiment=cvpr_voc", f"model={model}"])
        found = [stage.cfg.regime.lr for stage in stages(cfg, tmp_path)]
        assert found == pytest.approx(rates), model


@pytest.mark.parametrize(
    "override",
    [
        *("init.lr=abc", "init.lr=-1", "init.lr=0", "init.lr=[1]", "init.lr=[1, 0]"),
        "init.steps=0",
    ],
)
def test_impossible_stages_are_refused(override):
    cfg = check(compose_run(["init=staged", override]))
    with pytest.raises(ConfigError, match=re.escape(override)):
        stages(cfg, Path("out"))


def test_model_without_skips_has_no_stages():
    cfg = check(compose_run(["model=deconvnet", "init=staged"]))
    with pytest.raises(ConfigError, match="init=staged .* this model has no skips.* model=fcn8s"):
        stages(cfg, Path("out"))
    whole = check(compose_run(["model=deconvnet"]))
    assert [stage.folder for stage in stages(whole, Path("out"))] == [Path("out")]


@pytest.mark.real_data
def test_experiments_have_the_releases_solvers():
    import yaml

    facts = yaml.safe_load((SHARED / "reference/nets.yaml").read_text())["nets"]
    for name, net in facts.items():
        regime = compose_run([f"experiment={name.replace('-', '_')}"]).regime
        solver = net["solver"]
        assert regime.lr == solver["base_lr"] and regime.accumulate == solver["iter_size"], name
        assert regime.optimizer.momentum == solver["momentum"], name
        assert regime.weight_decay == solver["weight_decay"], name
        assert regime.steps == net["transplant"]["steps"]["total"], name
        for layer in net["layers"]:
            of_score = "score_" if layer["name"].startswith("score") else ""
            for kind, pair in zip(("weight", "bias"), layer.get("lr_decay", ()), strict=False):
                assert pair[0] == 0 or pair == regime.multipliers[of_score + kind], (name, layer)
        normalised = net["layers"][-1]["normalize"]
        assert (regime.loss.reduction == "mean") is normalised, name


@pytest.mark.parametrize("content", ["", "{}", '{"status": "done"}', "[1]"])
def test_damaged_result_is_named(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(ConfigError, match=r"result\.json: damaged; remove it"):
        finished(tmp_path)


def test_finished_run_does_nothing_on_resume(staged):
    folder, _ = staged
    before = weights(folder / "out")
    done = fcnexp("train", *STAGED, "resume=true", folder=folder, cache=folder / "cache")
    assert done.returncode == 0 and done.stdout.count("done before") == 3
    assert same(before, weights(folder / "out"))


def test_missing_stage_is_trained_again_to_the_same_weights(staged):
    folder, _ = staged
    before = weights(folder / "out")
    for path in sorted((folder / "out").rglob("*"), reverse=True):
        if "stages/fcn32s" not in str(path) and path.is_file() and path.name != "config.yaml":
            path.unlink()
    done = fcnexp("train", *STAGED, "resume=true", folder=folder, cache=folder / "cache")
    assert done.returncode == 0 and done.stdout.count("done before") == 1
    assert same(before, weights(folder / "out"))


def test_resume_false_refuses_a_folder_with_a_run(staged):
    folder, _ = staged
    done = fcnexp("train", *STAGED, "resume=false", folder=folder, cache=folder / "cache")
    assert done.returncode == 1 and "already holds a run" in done.stderr
    assert "leave out resume=false" in done.stderr


def test_changed_settings_are_refused_on_resume(staged):
    folder, _ = staged
    other = [*STAGED, "resume=true", "regime.weight_decay=0.5"]
    done = fcnexp("train", *other, folder=folder, cache=folder / "cache")
    assert done.returncode == 1
    assert "was started with regime.weight_decay=0.0001, not 0.5" in done.stderr


@pytest.mark.parametrize("accumulate", [1, 3])
def test_interrupted_run_ends_with_the_same_weights(tmp_path, accumulate, monkeypatch):
    """After an exception in a step, dropout, sampling, momentum, rates and draws all resume."""
    from fcnexp.task.module import SegmentationTask

    command = [
        *(*TINY, "logger=csv", "trainer=cpu", "head.dropout=0.5"),
        *("regime.steps=6", "regime.score_every=2", f"regime.accumulate={accumulate}"),
        *("augment.mirror=0.5", "regime.sampling=with_replacement"),
        *("regime.loss.keep=0.5", "regime.loss.cell=8"),
    ]
    whole = fcnexp("train", *command, "hydra.run.dir=whole", folder=tmp_path, cache=tmp_path)
    assert whole.returncode == 0, whole.stderr
    step = SegmentationTask.training_step

    def stop(self, batch, batch_idx):
        if (
            batch_idx == 3 * accumulate + accumulate // 2
        ):  # not right after a validation, which saves
            raise ConfigError("power cut")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SegmentationTask, "training_step", stop)
    part = fcnexp("train", *command, "hydra.run.dir=part", folder=tmp_path, cache=tmp_path)
    assert part.returncode == 1 and "power cut" in part.stderr
    monkeypatch.setattr(SegmentationTask, "training_step", step)
    rest = ["hydra.run.dir=part", "resume=true"]
    done = fcnexp("train", *command, *rest, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "continues after step" in done.stdout, done.stderr
    assert len(list((tmp_path / "part").glob("metrics*.csv"))) == 2  # before and after
    first, second = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert same(first, second)


def test_differences_are_listed_by_path():
    first, second = {"a": {"b": 1, "c": [2]}, "d": 3}, {"a": {"b": 1, "c": [4]}, "e": 5}
    assert differences(first, second) == [("a.c", [2], [4]), ("d", 3, None), ("e", None, 5)]


@pytest.mark.parametrize(
    ("dense", "message"),
    [
        (["deconv_learned", "dense.learned=all"], None),  # each stage has a new last kernel
        (["deconv_d2l"], "dense: kernel=64, pad=16: at stride 16, .* try kernel=32 pad=8"),
        (["shift_and_stitch_8"], "dense: stride=8: the scorer's stride is 4, allowed are 1, 2, 4"),
    ],
)
def test_every_stage_is_built_before_the_first_is_trained(dense, message, tmp_path):
    choice = ["model=fcn4s", "init=staged", "init@init.first=scratch", f"dense={dense[0]}"]
    done = fcnexp(
        "train",
        *(*TINY, *choice, *dense[1:], "dry_run=true"),
        folder=tmp_path,
        cache=tmp_path / "cache",
    )
    assert done.returncode == (message is not None)
    if message:
        assert re.search(message, done.stderr)
