import pytest
from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from fcnexp import build
from fcnexp.config import checks
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run, conf_dir
from fcnexp.config.trust import refuse_foreign_code
from fcnexp.config.values import did_you_mean
from fcnexp.data import datamodule
from fcnexp.data.balance import RULES
from fcnexp.errors import ConfigError, DataError, WeightsError
from fcnexp.nn.dense.deconvolution import LEARNED
from fcnexp.nn.dense.upsampling import EDGES
from fcnexp.nn.fcn import TRAINED
from fcnexp.nn.fuse import FUSIONS
from fcnexp.task.losses import REDUCTIONS
from fcnexp.task.masking import SIDES

CONF = conf_dir()
GROUPS = sorted(
    path.name
    for path in CONF.iterdir()
    if path.is_dir() and path.name not in ("recipe", "hydra", "layer", "figure")
)
OPTIONS = [
    f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))
]
RGBD = ("hha", "depth", "depth_scaled", "rgbd", "rgbd_scaled", "rgb_hha")
NEEDED = {"init=caffemodel": ["init.path=x", "backbone=vgg16"], "init=checkpoint": ["init.path=x"]}
NEEDED |= {"init=hub": ["init.repo=one/net"]}
NEEDED |= {f"modality={name}": ["data=nyud"] for name in RGBD}
FIVE = [f"modality.bands.{key}={[1.0] * 5}" for key in ("mean", "std")]
NEEDED |= {f"modality={name}": ["data=classes", *FIVE] for name in ("bands", "bands_torchvision")}
NEEDED |= {"init=streams": ["data=nyud", "modality=rgb_hha"]}
NEEDED |= {name: ["data.root=x"] for name in ("data=folder", "experiment=own_photos")}
NEEDED |= {"init=caffemodel_googlenet": ["backbone=googlenet"]}
NEEDED |= {"modality=rgb_backbone": ["backbone=torchvision"]}
NEEDED |= {"dense=deconv_d2l": ["backbone=resnet18", "model=fcn32s"]}
NEEDED |= {f"{group}=none": ["model=fcn_resnet50"] for group in ("backbone", "head", "dense")}


NOT_HERE = ("trainer=gpu", "logger=wandb_online", "data=folder", "experiment=own_photos")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_every_group_is_sound(option):
    """It composes, its keys are those of its constructor, and the net can be built."""
    if library := {"backbone=timm": "timm", "model=smp": "segmentation_models_pytorch"}.get(option):
        pytest.importorskip(library, reason=f"the extra of {option} is not installed")
    if option in NOT_HERE:
        check(compose_run([option, *NEEDED.get(option, [])]))
        return
    cfg = compose_run([option, *NEEDED.get(option, [])])
    check(cfg)
    if not cfg.data._target_.endswith(".Classes"):
        build.dry_run(cfg)
        return
    with pytest.raises(DataError, match="has no images: use it to build networks"):
        build.dry_run(cfg)  # as a run would
    build.on_meta(cfg, build.outputs_of(build.part(cfg, "data")), size=(65, 97))


RECIPES = [path.relative_to(CONF / "recipe") for path in (CONF / "recipe").rglob("*.yaml")]


@pytest.mark.parametrize("recipe", sorted(str(path.with_suffix("")) for path in RECIPES))
def test_every_recipe_follows_its_regime_and_backbone(recipe):
    names = recipe.removeprefix("init/").split("_", 3 if "/" in recipe else 1)
    groups = ("init", "regime", "backbone", "model") if "/" in recipe else ("regime", "backbone")
    numbers = OmegaConf.load(CONF / "recipe" / f"{recipe}.yaml")
    cfg = compose_run([f"{g}={n}" for g, n in zip(groups, names, strict=True)])
    check(cfg)
    assert OmegaConf.merge(cfg, numbers) == cfg  # the recipe's numbers are in force


def test_files_stay_short():
    for path in CONF.rglob("*.yaml"):
        lines = path.read_text().splitlines()
        assert len(lines) <= (41 if path.parent == CONF else 25), path


def test_experiment_sets_seed_and_published_figures():
    cfg = compose_run(["experiment=voc_fcn8s"])
    assert cfg.seed == 1337 and cfg.paper.row == "FCN-8s"
    assert compose_run(["experiment=voc_fcn8s", "seed=5"]).seed == 5


def test_command_line_beats_experiment_beats_recipe():
    assert compose_run(["experiment=voc_fcn_alexnet"]).regime.lr == 1e-4
    assert compose_run(["regime=accum", "backbone=alexnet"]).regime.lr == 1e-3
    assert compose_run(["regime=accum", "backbone=alexnet", "regime.lr=3"]).regime.lr == 3


def test_backbone_brings_its_head_unless_another_is_asked_for():
    assert compose_run(["backbone=googlenet"]).head._target_.endswith("LinearHead")
    assert compose_run(["backbone=vgg16"]).head._target_.endswith("FcHead")
    assert compose_run(["backbone=googlenet", "head=fc"]).head._target_.endswith("FcHead")
    assert compose_run(["backbone=resnet18"]).modality.rgb.order == "rgb"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+model.skip=[8]",
            r"model.skip: fcnexp.nn.fcn.SkipNet takes no such key \(did you mean skips",
        ),
        ("regime.steps=abc", r"regime.steps: Value 'abc' .* could not be converted to Integer"),
        ("regime.steps=-1", "regime.steps=-1: must be 0 or more"),
        ("workers=-1", "workers=-1: must be 0 or more"),
        ("init=caffemodel", r"init.path: required, but not given; add init.path="),
        ("backbone._target_=fcnexp.nn.vgg.VGG", r"backbone._target_=.*cannot be imported"),
        ("+colour=1", r"colour"),
        ("regime.multipliers.bias=[1]", r"regime.multipliers.bias=\[1\]: must be a pair"),
        ("regime.multipliers.bias=[1,-1]", r"regime.multipliers.bias=\[1, -1\]: must be a pair"),
        ("+regime.multipliers.biases=[1,1]", "regime.multipliers.biases: no such kind; choose"),
        (
            "regime.loss.keep=0",
            "regime.loss.keep=0: .* above 0 and at most 1",
        ),
        ("regime.loss.keep=1.5", "regime.loss.keep=1.5: must be the probability"),
        ("regime.loss.keep=most", "regime.loss.keep=most: must be the probability"),
        ("regime.loss.cell=0", "regime.loss.cell=0: must be 1 pixel or more; 1 for single pixels"),
        ("regime.loss.cell=1.5", "regime.loss.cell=1.5: must be 1 pixel"),
        ("regime.loss.balance=mean", "regime.loss.balance=mean: allowed are inverse, median, a li"),
        ("regime.loss.balance=2", "regime.loss.balance=2: allowed are inverse"),
        ("regime.loss.balance=[1,-1]", r"regime.loss.balance=\[1, -1\]: weights must be numbers"),
        ("regime.loss.balance=[0,0]", r"regime.loss.balance=\[0, 0\]: .* not all 0"),
        ("masking.train=back", "masking.train=back: allowed are foreground, background, shape, or"),
        ("masking.test=all", "masking.test=all: allowed are"),
    ],
)
def test_bad_value_names_its_key(override, message):
    with pytest.raises(ConfigError, match=message):
        check(compose_run([override]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["regime=heavy", "regime.lr=1e-4"], "(1e-04|0.0001): diverges .* regime=accum"),
        (["regime=accum", "regime.lr=1e-10"], "1e-10: too small .* averaged .* regime=heavy"),
        (["regime=d2l", "regime.lr=1e-12"], "1e-12: too small to learn with the loss averaged"),
    ],
)
def test_rate_of_the_other_regime_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        check(compose_run(overrides))


def test_controls_are_named_as_their_parts_name_them():
    assert checks.BALANCES == RULES and checks.SIDES == SIDES
    assert set(checks.SAMPLINGS) == set(datamodule._SAMPLERS)
    parts = {key: words for (_, _, key), words in checks.ALLOWED.items()}
    assert parts["reduction"] == REDUCTIONS and parts["learned"] == LEARNED
    assert parts["edges"] == (None, *EDGES)
    assert parts["fusion"] == FUSIONS and parts["trained"] == TRAINED
    for option in [*(f"masking.train={side}" for side in SIDES), "masking.test=shape"]:
        check(compose_run([option]))
    for balance in ("inverse", "median", "[1,0,2,1,1,1,1,1]", "null"):
        build.dry_run(check(compose_run([f"regime.loss.balance={balance}"])))


def test_rates_of_the_papers_and_of_adam_are_taken():
    for lr in ("1e-10", "1e-14", "1e-7"):
        check(compose_run(["regime=heavy", f"regime.lr={lr}"]))
    for lr in ("1e-3", "5e-5", "1e-8"):
        check(compose_run(["regime=accum", f"regime.lr={lr}"]))
    check(compose_run(["regime=quick", "regime.loss.reduction=sum"]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["regime.loss.reduction=max"],
            "regime.loss.reduction=max: allowed are mean, sum, image_means",
        ),
        (
            ["regime.loss.balance=[1,2]"],
            "regime.loss.balance: has 2 weights, but the data set has 8 classes; give one weight",
        ),
        (["modality.rgb.order=hsv"], "modality: order=hsv: allowed are bgr and rgb"),
        (["backbone=alexnet", "model.skips=[2]"], "no tap of stride 2"),
        (["backbone=resnet18", "backbone.name=resnet19"], "backbone: Unknown model resnet19"),
        (["trainer.accelerator=tpu9"], "trainer.accelerator=tpu9: allowed are"),
    ],
)
def test_part_that_refuses_its_value_names_the_group(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build.dry_run(check(compose_run(overrides)))


@pytest.mark.parametrize(
    "target", ["os.system", "fcnexp.nn.weights.download.os.system", "builtins.eval"]
)
def test_stored_config_cannot_call_other_code(target):
    with pytest.raises(WeightsError, match=f"last.ckpt: its config would call {target}"):
        refuse_foreign_code({"model": {"a": {"_target_": target}}}, "last.ckpt")


def test_stored_config_may_call_our_parts_and_trusted_ones(monkeypatch):
    refuse_foreign_code({"model": {"_target_": "fcnexp.nn.fcn.SkipNet"}}, "last.ckpt")
    monkeypatch.setenv("FCNEXP_TRUST", "mine, collections")
    refuse_foreign_code({"model": {"_target_": "collections.OrderedDict"}}, "last.ckpt")


def test_configs_of_a_program_that_uses_us_may_ask_for_its_secrets(monkeypatch):
    OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)  # a command may have run here
    monkeypatch.setenv("OPENAI_API_KEY", "0123456789abcdef")
    compose_run([])
    assert OmegaConf.create({"a": "${oc.env:OPENAI_API_KEY}"}).a == "0123456789abcdef"


def test_near_words_are_offered():
    assert did_you_mean("fcn8", ["fcn32s", "fcn8s"]) == " (did you mean fcn8s?)"
    assert did_you_mean("zzz", ["fcn32s"]) == ""
