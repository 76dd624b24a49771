"""Optuna searches: the study persists, and a failed trial does not stop the others."""

import json

import optuna
from commands import TINY, fcnexp
from omegaconf import OmegaConf

SEEDS = (1, 6)
SEARCH = ["-m", "hydra/sweeper=search", "hydra/sweeper/sampler=random", "hydra.sweep.dir=out"]
SEARCH += ["hydra.sweeper.n_trials=2", "regime.lr=interval(0.5,1.5)"]  # above 1 is refused


def test_same_command_continues_a_search_with_failed_trials(tmp_path):
    """The sampler's seeds give each launch one rate above 1 and one below."""
    command = [*SEARCH, *TINY, "pictures=0", "logger=csv", "trainer=cpu"]
    for launch, seed in enumerate(SEEDS, start=1):
        again = f"hydra.sweeper.sampler.seed={seed}"
        fcnexp("train", *command, again, folder=tmp_path, cache=tmp_path)
        storage = f"sqlite:///{tmp_path}/out/study.db"
        (summary,) = optuna.get_all_study_summaries(storage)
        study = optuna.load_study(summary.study_name, storage)
        assert len(study.trials) == 2 * launch
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    assert len({trial.params["regime.lr"] for trial in study.trials}) == 4
    results = {}
    for file in tmp_path.glob("out/*/result.json"):
        cfg = OmegaConf.load(file.parent / "config.yaml")
        results[cfg.regime.lr] = json.loads(file.read_text())["scores"]["miou"]
    assert len(results) == 2
    for trial in study.trials:
        rate = trial.params["regime.lr"]
        assert trial.state.name == ("COMPLETE" if rate <= 1 else "FAIL")
        assert trial.value == results.get(rate)
    best = OmegaConf.load(tmp_path / "out/optimization_results.yaml")
    assert best.best_value == max(results.values())


def test_search_without_finished_trials_is_reported(tmp_path):
    command = [*SEARCH, "hydra.sweeper.n_trials=1", "regime.lr=2,3", "trainer=cpu"]
    for storage in ("null", "sqlite:///study.db"):
        kept = f"hydra.sweeper.storage={storage}"
        done = fcnexp("train", *command, kept, folder=tmp_path, cache=tmp_path)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "no trial of the study has finished" in done.stderr


def test_dry_run_of_a_search_checks_one_trial_and_writes_nothing(tmp_path):
    for rate, code, message in (
        ("0.5,1", 0, "only its first trial was checked"),
        ("2,3", 1, "regime.lr="),
    ):
        command = [*SEARCH, f"regime.lr={rate}", "dry_run=true", "trainer=cpu"]
        done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
        assert done.returncode == code and message in done.stdout + done.stderr
        assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()
