"""Files in sweeps/: headers, all jobs, and one sweep from start to report."""

import json
import re
import shlex
from functools import cache

import pytest
from commands import TINY, fcnexp
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from fcnexp import build
from fcnexp.config import checks, identity
from fcnexp.config.compose import compose_run, conf_dir, offer_resolvers
from fcnexp.papers.published import TABLE1, published
from fcnexp.sweep.rows import RowSweeper

HOME = conf_dir().parent / "sweeps"
SCALES = ("full", "small")
SWEEPS = sorted({path.stem for path in HOME.glob("*.yaml")} - {"bounds"})  # in test_bounds.py


def jobs(name: str, *typed: str) -> list[list[str]]:
    """List each job's overrides, made by the sweeper from the file and the command line."""
    offer_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("train", [f"sweeps={name}", *typed], return_hydra_config=True)
    assert cfg.hydra.mode == RunMode.MULTIRUN
    sweeper = RowSweeper(cfg.hydra.sweeper.params, cfg.hydra.sweeper.rows, None)
    params = [f"{key}={values}" for key, values in sweeper.params.items()]
    overrides = OverridesParser.create().parse_overrides([*params, f"sweeps={name}", *typed])
    (found,) = sweeper.split_arguments(overrides, None)
    return found


@cache
def rows(name: str, scale: str) -> list[DictConfig]:
    """Configs of a sweep's rows, for one seed, composed once for all tests."""
    typed = ("scale=small", "seed=0") if scale == "small" else ("seed=0",)
    return [compose_run(job) for job in jobs(name, *typed)]


@pytest.mark.parametrize("name", SWEEPS)
def test_header_has_question_cost_and_command(name):
    lines = (HOME / f"{name}.yaml").read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header  # one block
    assert header[0] == "# @package _global_" and header[1].startswith("# Question: ")
    assert header[-1] == f"# python -m fcnexp.train sweeps={name} [scale=small]"
    (cost,) = (line for line in header if line.startswith("# Cost: "))
    small = len(jobs(name, "scale=small"))
    assert f"scale=small, {small} runs: " in cost and cost.endswith(" minutes on two cores.")


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_row_of_every_sweep_is_valid_and_distinct(name, scale):
    configs = []
    for row in rows(name, scale):
        cfg = checks.check(row)
        build.dry_run(cfg)
        configs.append(identity.digest(checks.to_plain(cfg)))
    assert len(set(configs)) == len(configs) >= 1


@pytest.mark.parametrize("name", SWEEPS)
def test_small_scale_has_the_same_rows_with_three_seeds_on_generated_data(name):
    kept = {"camvid_heads_inits": 2}.get(name, 1)  # at small scale, nothing is pretrained
    assert kept * len(jobs(name, "scale=small")) == 3 * len(rows(name, "full"))
    for cfg in rows(name, "small"):
        assert cfg.data._target_.rpartition(".")[2] in ("Shapes", "Rooms")
        assert cfg.init._target_ == "fcnexp.nn.weights.init.scratch" and cfg.scale == "small"


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("table1_backbones", (39.8, 56.0, 42.5)),
        ("table2_skips", (45.4, 59.4, 62.4, 62.7, None, None)),
        ("pami_skips", (46.6, 63.6, 65.0, 65.4, 65.5)),
        ("table3", (62.7,)),
        ("table4_nyud", (29.2, 30.5, 24.2, 32.8, 34.0)),
        ("pascalcontext", (36.7, 38.4, 39.1)),
        ("table5", (None, 39.5, 41.2)),
        ("regimes", (51.9, 60.7, 63.6)),
        ("extra_data", (56.0, 59.4)),
        ("fusion_depth", (59.4, 62.4, 62.7, None, None)),
        ("single_taps", (50.0, 22.4, 9.2)),
        ("masking", (84.8, 81.0, 19.8, 76.1, 37.8, 29.1)),
        ("deconvnet", (63.6, 65.5, 69.6)),
        ("d2l", (None, None)),
        ("camvid_skips", (None, None, None, 57.0, None, None)),
        ("nyud_half", (29.2, None, 30.5, 24.2, 32.8)),
        ("nyud_half_skips", (None, None, 34.0, None)),
    ],
)
@pytest.mark.parametrize("scale", SCALES)
def test_rows_carry_the_papers_mean_iu(name, theirs, scale):
    found = [published(checks.to_plain(cfg)["paper"]) for cfg in rows(name, scale)]
    assert tuple(row and row.scores.get("miou") for row in found) == theirs


def test_sampling_uses_the_same_number_of_cells_per_step():
    for scale, cells in (("full", 20), ("small", 8)):
        cfgs = rows("loss_sampling", scale)
        images = [cfg.regime.batch_size * cfg.regime.accumulate for cfg in cfgs]
        assert {n * cfg.regime.loss.keep for n, cfg in zip(images, cfgs, strict=True)} == {cells}
    assert sorted({cfg.regime.loss.keep for cfg in cfgs}) == [0.25, 0.5, 1]
    assert {cfg.regime.loss.cell for cfg in cfgs} == {32}  # the stride of FCN-32s


@pytest.mark.parametrize(("scale", "images"), [("full", 3000), ("small", 3000)])
def test_regimes_on_camvid_take_equally_many_images(scale, images):
    for cfg in rows("camvid_regimes", scale):
        regime = cfg.regime
        assert regime.steps * regime.batch_size * regime.accumulate == images
        assert regime.score_every == regime.steps


def test_patches_have_the_size_of_the_receptive_field_and_equal_pixels_per_step():
    whole, patches = rows("patches", "small")
    field = 1  # of the tiny backbone's tap of stride 8: its blocks of two 3x3, its 2x2 pools
    for stride in (1, 2, 4, 8):
        field += 2 * 2 * stride + (stride // 2 if stride > 1 else 0)
    assert patches.augment.crop == field == 68 and whole.augment.crop is None
    assert whole.model == patches.model and whole.model.deepest == 8
    scenes = whole.regime.batch_size * (sum(whole.data.side) / 2) ** 2
    assert patches.regime.batch_size * field**2 == pytest.approx(scenes, rel=0.02)
    whole, patches = rows("patches", "full")
    assert patches.augment.crop == TABLE1["VGG16"].field  # and it is the trunk's, as of FCN-32s
    photographs = whole.regime.accumulate * 500 * 375
    assert patches.regime.accumulate * 404**2 == pytest.approx(photographs, rel=0.02)


def test_masking_has_the_papers_rows():
    """Source: PAMI, table of masking: regions masked in training and in test."""
    hidden = [tuple(cfg.masking.values()) for cfg in rows("masking", "full")]
    fore, back = "foreground", "background"
    assert hidden == [
        *((None, None), (None, back), (None, fore)),  # Reference, Reference-FG, Reference-BG
        *((back, back), (fore, fore), ("shape", "shape")),  # FG-only, BG-only, Shape
    ]


def test_sweep_runs_and_prints_the_report_command(tmp_path):
    """One job in a separate process, the default of scale=small; one in this process, for speed."""
    command = ["sweeps=max_fusion", "scale=small", *TINY, "logger=csv", "trainer=cpu", "pictures=0"]
    command += ["seed=0", "hydra.sweep.dir=a b"]
    done = fcnexp("train", *command, "model.fusion=sum", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "1 job: 1 done (1 now, 0 before)" in done.stdout, done.stderr
    here = "hydra/launcher=in_process"
    done = fcnexp("train", *command, here, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    assert said == "to compare the runs: python -m fcnexp.report 'a b'"
    assert "2 jobs: 2 done (1 now, 1 before)" in done.stdout
    folder, _ = (tmp_path / "a b").glob("fcn8s_tiny_seed0_*")
    record = json.loads((folder / "result.json").read_text())
    assert {"model.fusion", "seed", "regime.steps"} < set(record["typed"])
    chosen = {"model": "fcn8s", "backbone": "tiny", "masking": "none"}
    assert chosen.items() <= record["choices"].items()
    assert not {"sweeps", "recipe"} & set(record["choices"])
    arguments = [*shlex.split(said)[-1:], "output=r.csv"]
    done = fcnexp("report", *arguments, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    table = [line.split(",")[:2] for line in (tmp_path / "r.csv").read_text().splitlines()]
    assert table == [
        ["fusion", "seeds"],
        ["sum", "1"],
        ["max", "1"],
    ]


def test_dry_run_of_a_sweep_writes_nothing(tmp_path):
    command = ["sweeps=max_fusion", "scale=small", "seed=0", "dry_run=true", "hydra.sweep.dir=out"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "fcnexp.report" not in done.stdout, done.stderr
    assert done.stdout.count("config is fine") == 2
    assert not (tmp_path / "out").exists()


def test_finished_jobs_are_compared_if_another_fails(tmp_path):
    command = [*TINY, "logger=csv", "trainer=cpu", "pictures=0", "hydra.sweep.dir=out"]
    command += ["model.fusion=min,sum"]
    done = fcnexp("train", "-m", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search("failed: fcn8s_tiny_seed0_.*: ConfigError: .*fusion=min", done.stderr)
    assert "2 jobs: 1 done (1 now, 0 before), 1 failed" in done.stdout
    assert "to compare the runs: python -m fcnexp.report out" in done.stdout
    assert len(list((tmp_path / "out").glob("*/result.json"))) == 1


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("train", "+sweep=table3", "to choose a sweep, write sweeps=table3"),
        ("train", "sweep=table3", "to choose a sweep, write sweeps=table3"),
        ("train", "+sweeps=table3", "to choose a sweep, write sweeps=table3"),
        ("train", "sweeps=table3,masking", "only one sweep per command; run the others separately"),
        ("train", "sweeps=bounds", "this sweep runs as python -m fcnexp.bounds sweeps=bounds"),
        ("bounds", "sweeps=table3", "this sweep runs as python -m fcnexp.train sweeps=table3"),
    ],
)
def test_wrong_syntax_for_a_sweep_is_corrected(command, argument, message, tmp_path):
    done = fcnexp(command, argument, "scale=small", folder=tmp_path, cache=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"error: {argument}: {message}\n")
    assert not list(tmp_path.iterdir())
