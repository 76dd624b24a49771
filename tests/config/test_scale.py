"""scale=small: every experiment, alone."""

import pytest

from fcnexp import build
from fcnexp.config import checks
from fcnexp.config.compose import compose_run, conf_dir, offer_resolvers

EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
OWN_STEPS = {"shapes_deconvnet": 1500}  # of generated scenes at any scale
DEPTH = ("rgbd", "hha", "color_d")  # in the names of those that take more than colour


def small(experiment: str, *typed: str) -> list[str]:
    """What is typed for it; conf/scale/small.yaml says which rows need more."""
    needed = ["data=rooms"] if any(word in experiment for word in DEPTH) else []
    needed += ["head=fc", "head.channels=16"] if experiment == "voc_deconvnet" else []
    return [f"experiment={experiment}", "scale=small", *needed, *typed]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_a_matter_of_minutes_on_generated_scenes(experiment):
    cfg = checks.check(compose_run(small(experiment)))
    build.dry_run(cfg)
    assert cfg.data._target_.rpartition(".")[2] in ("Shapes", "Rooms")
    assert cfg.init._target_ == "fcnexp.nn.weights.init.scratch"
    regime = cfg.regime
    assert regime.steps == OWN_STEPS.get(experiment, 400) and regime.score_every < regime.steps
    assert (regime.lr, regime.loss.reduction) == (6e-3, "mean")  # as in regime/small


@pytest.mark.parametrize(
    ("experiment", "steps", "score_every", "lr"),
    [
        ("voc_fcn_alexnet", 100000, 4000, 1e-4),
        ("pascalcontext_fcn32s", 400000, 8000, 1e-10),
        ("pascalcontext_fcn16s", 400000, 8000, 1e-12),
        ("pascalcontext_fcn8s", 400000, 8000, 1e-14),
        ("siftflow_fcn32s", 100000, 2000, 1e-10),
        ("siftflow_fcn16s", 100000, 2000, 1e-12),
        ("siftflow_fcn8s", 100000, 2000, 1e-12),
        ("nyud_fcn32s_hha", 100000, 2000, 1e-10),
        ("voc_fcn8s", 100000, 4000, 1e-14),
    ],
)
def test_without_it_they_are_the_released_solvers(experiment, steps, score_every, lr):
    regime = compose_run([f"experiment={experiment}"]).regime
    assert (regime.steps, regime.score_every, regime.lr) == (steps, score_every, lr)


def test_chosen_weights_keep_the_rate_of_the_stage_they_begin():
    typed = ["experiment=voc_fcn8s", "init=checkpoint", "init.path=x"]
    assert compose_run(typed).regime.lr == 1e-14
    assert compose_run(["experiment=voc_fcn16s", *typed[1:]]).regime.lr == 1e-12


@pytest.mark.parametrize(("scale", "launcher"), [("small", "Subprocess"), ("full", "InProcess")])
def test_scale_chooses_how_jobs_are_started(scale, launcher):
    from hydra import compose, initialize_config_dir

    offer_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"scale={scale}"], return_hydra_config=True)
    assert cfg.hydra.launcher._target_ == f"hydra_plugins.fcnexp_launchers.{launcher}Launcher"
