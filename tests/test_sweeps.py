"""Every file in sweeps/: its header, each of its jobs, and one of them from start to report."""

import json
import re
import shlex

import pytest
from commands import TINY, fcnexp
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fcnexp import build, config, paths

SWEEPS = sorted(path.stem for path in (paths.conf_dir().parent / "sweeps").glob("*.yaml"))


def jobs(name: str, *typed: str) -> list[list[str]]:
    """Overrides of each job, as Hydra's sweeper makes them from the file and the command line."""
    settings = OmegaConf.load(paths.conf_dir().parent / "sweeps" / f"{name}.yaml").hydra
    assert settings.mode == "MULTIRUN"
    params = [f"{key}={values}" for key, values in settings.sweeper.params.items()]
    overrides = OverridesParser.create().parse_overrides([*params, *typed])
    (found,) = BasicSweeper.split_arguments(overrides, None)
    return found


@pytest.mark.parametrize("name", SWEEPS)
def test_header_has_question_cost_and_command(name):
    lines = (paths.conf_dir().parent / "sweeps" / f"{name}.yaml").read_text().splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[: len(header)] == header  # one block
    assert header[0] == "# @package _global_" and header[1].startswith("# Question: ")
    assert any(re.match(rf"# Cost: {len(jobs(name))} runs of .* on two cores", li) for li in header)
    assert header[-1] == f"# python -m fcnexp.train +sweeps={name}"


@pytest.mark.parametrize("name", SWEEPS)
def test_every_job_of_every_sweep_is_sound_and_another_experiment(name):
    """But for the seeds, of which each row has 0, 1 and 2."""
    every, rows = jobs(name), jobs(name, "seed=0")
    assert len(every) == 3 * len(rows) > 3
    configs = []
    for row in rows:
        cfg = config.check(config.compose_run([f"+sweeps={name}", *row]))
        build.dry_run(cfg)
        configs.append(config.to_plain(cfg))
    assert all(a != b for i, a in enumerate(configs) for b in configs[:i])


def test_sampling_sees_as_many_cells_a_step():
    cfgs = [config.compose_run(["+sweeps=loss_sampling", *j]) for j in jobs("loss_sampling")]
    assert {cfg.regime.batch_size * cfg.regime.loss.keep for cfg in cfgs} == {8}
    assert sorted({cfg.regime.loss.keep for cfg in cfgs}) == [0.25, 0.5, 1]
    assert {cfg.regime.loss.cell for cfg in cfgs} == {32}  # the stride of FCN-32s


def test_patches_are_as_large_as_the_nets_receptive_field_and_as_many_pixels():
    whole, patches = (
        config.compose_run(["+sweeps=patches", *j]) for j in jobs("patches", "seed=0")
    )
    field = 1  # of the tiny backbone's tap of stride 8: its blocks of two 3x3, its 2x2 pools
    for stride in (1, 2, 4, 8):
        field += 2 * 2 * stride + (stride // 2 if stride > 1 else 0)
    assert patches.augment.crop == field == 68 and whole.augment.crop is None
    assert whole.model == patches.model and whole.model.deepest == 8
    scenes = whole.regime.batch_size * (sum(whole.data.side) / 2) ** 2
    assert patches.regime.batch_size * field**2 == pytest.approx(scenes, rel=0.02)


def test_masking_has_the_papers_rows():
    """Source: PAMI, table of masking: what is masked in training, and in test."""
    hidden = [
        tuple(config.compose_run(["+sweeps=masking", *job]).masking.values())
        for job in jobs("masking", "seed=0")
    ]
    fore, back = "foreground", "background"
    assert hidden == [
        *((None, None), (None, back), (None, fore)),  # Reference, Reference-FG, Reference-BG
        *((back, back), (fore, fore), ("shape", "shape")),  # FG-only, BG-only, Shape
    ]


def test_sweep_runs_and_says_how_to_compare_what_it_left(tmp_path):
    command = [*TINY, "logger=csv", "trainer=cpu", "pictures=0", "seed=0", "hydra.sweep.dir=a b"]
    done = fcnexp("train", "+sweeps=max_fusion", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[-1]
    assert said == "side by side: python -m fcnexp.report 'a b'"
    assert "2 jobs: 2 done (2 now, 0 before)" in done.stdout
    first, second = sorted((tmp_path / "a b").glob("fcn8s_tiny_seed0_*"))
    record = json.loads((second / "result.json").read_text())
    assert {"model.fusion", "seed", "regime.steps"} < set(record["typed"])
    chosen = {"model": "fcn8s", "backbone": "tiny", "masking": "none", "experiment": None}
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


def test_checked_sweep_leaves_nothing_to_compare(tmp_path):
    command = ["+sweeps=max_fusion", "seed=0", "dry_run=true", "hydra.sweep.dir=out"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "fcnexp.report" not in done.stdout, done.stderr
    assert done.stdout.count("config is fine") == 2
    assert not (tmp_path / "out").exists()


def test_failed_job_does_not_keep_the_others_from_being_compared(tmp_path):
    command = [*TINY, "logger=csv", "trainer=cpu", "pictures=0", "hydra.sweep.dir=out"]
    command += ["model.fusion=min,sum"]
    done = fcnexp("train", "-m", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search("failed: fcn8s_tiny_seed0_.*: ConfigError: .*fusion=min", done.stderr)
    assert "2 jobs: 1 done (1 now, 0 before), 1 failed" in done.stdout
    assert "side by side: python -m fcnexp.report out" in done.stdout
    assert len(list((tmp_path / "out").glob("*/result.json"))) == 1
