import pytest
from omegaconf import OmegaConf

from fcnexp import build, paths
from fcnexp.config import check, compose_run, did_you_mean, refuse_foreign_code
from fcnexp.errors import ConfigError, WeightsError

CONF = paths.conf_dir()
GROUPS = sorted(
    path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("recipe", "hydra")
)
OPTIONS = [
    f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))
]
NEEDED = {"init=caffemodel": ["init.path=x", "backbone=vgg16"], "init=checkpoint": ["init.path=x"]}


def needed(option: str) -> list[str]:
    return ["init.path=x"] if option.startswith("experiment=photos") else NEEDED.get(option, [])


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_is_sound(option):
    """It composes, its keys are those of its constructor, and the net can be built."""
    if option in ("trainer=gpu", "logger=wandb_online"):
        check(compose_run([option]))
        return
    cfg = compose_run([option, *needed(option)])
    check(cfg)
    build.dry_run(cfg)


@pytest.mark.parametrize("recipe", sorted(path.stem for path in (CONF / "recipe").glob("*.yaml")))
def test_every_recipe_follows_its_regime_and_backbone(recipe):
    regime, backbone = recipe.split("_", 1)
    numbers = OmegaConf.load(CONF / "recipe" / f"{recipe}.yaml")
    cfg = compose_run([f"regime={regime}", f"backbone={backbone}"])
    check(cfg)
    assert OmegaConf.merge(cfg, numbers) == cfg  # the recipe's numbers are in force


def test_files_stay_short():
    for path in CONF.rglob("*.yaml"):
        lines = path.read_text().splitlines()
        assert len(lines) <= (40 if path.parent == CONF else 25), path


def test_command_line_beats_experiment_beats_recipe():
    assert compose_run(["regime=accum", "backbone=alexnet"]).regime.lr == 1e-3
    assert compose_run(["regime=accum", "backbone=alexnet", "regime.lr=3"]).regime.lr == 3


def test_backbone_brings_its_head_unless_another_is_asked_for():
    assert compose_run(["backbone=googlenet"]).head._target_.endswith("LinearHead")
    assert compose_run(["backbone=vgg16"]).head._target_.endswith("FcHead")
    assert compose_run(["backbone=googlenet", "head=fc"]).head._target_.endswith("FcHead")
    assert compose_run(["backbone=resnet18"]).modality.order == "rgb"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+model.skip=[8]",
            r"model.skip: fcnexp.nn.fcn.SkipNet takes no such key \(did you mean skips",
        ),
        ("regime.steps=abc", r"regime.steps: Value 'abc' .* could not be converted to Integer"),
        ("regime.steps=0", "regime.steps=0: it counts from 1"),
        ("workers=-1", "workers=-1: it counts from 0"),
        ("init=caffemodel", r"init.path: required, and not given; add init.path="),
        ("backbone._target_=fcnexp.nn.vgg.VGG", r"backbone._target_=.*cannot be imported"),
        ("+colour=1", r"colour"),
    ],
)
def test_bad_value_names_its_key(override, message):
    with pytest.raises(ConfigError, match=message):
        check(compose_run([override]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["regime.loss.reduction=max"], "regime.loss: reduction=max: allowed are mean and sum"),
        (["modality.order=hsv"], "modality: order=hsv: allowed are bgr and rgb"),
        (["backbone=alexnet", "model.skips=[2]"], "no tap of stride 2"),
        (["backbone=resnet18", "backbone.name=resnet19"], "backbone: Unknown model resnet19"),
        (["trainer.accelerator=tpu9"], "trainer.accelerator=tpu9: allowed are"),
    ],
)
def test_part_that_refuses_its_value_names_the_group(overrides, message):
    cfg = compose_run(overrides)
    check(cfg)
    with pytest.raises(ConfigError, match=message):
        build.dry_run(cfg)


@pytest.mark.parametrize("target", ["os.system", "fcnexp.nn.download.os.system", "builtins.eval"])
def test_stored_config_cannot_call_other_code(target):
    with pytest.raises(WeightsError, match=f"last.ckpt: it wants to call {target}"):
        refuse_foreign_code({"model": {"a": {"_target_": target}}}, "last.ckpt")


def test_stored_config_may_call_our_parts_and_trusted_ones(monkeypatch):
    refuse_foreign_code({"model": {"_target_": "fcnexp.nn.fcn.SkipNet"}}, "last.ckpt")
    monkeypatch.setenv("FCNEXP_TRUST", "collections")
    refuse_foreign_code({"model": {"_target_": "collections.OrderedDict"}}, "last.ckpt")


def test_near_words_are_offered():
    assert did_you_mean("fcn8", ["fcn32s", "fcn8s"]) == " (did you mean fcn8s?)"
    assert did_you_mean("zzz", ["fcn32s"]) == ""
