"""Run folders: whose they are, what is finished in them, and where a run can go on."""

from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from fcnexp.config import to_plain
from fcnexp.errors import ConfigError, DataError, WeightsError
from fcnexp.identity import counted
from fcnexp.paths import LAST
from fcnexp.reporting.records import CONFIG, RESULT, read_result


class Stopped(NamedTuple):
    """Where a run was broken off. step: optimiser's steps done."""

    path: Path
    step: int


def claim(folder: Path, otherwise: str = "") -> None:
    """Refuse a folder that holds a run. Raises ConfigError. otherwise: what else can be typed."""
    for sign in (RESULT, "checkpoints", "stages"):
        if (folder / sign).exists():
            raise ConfigError(
                f"hydra.run.dir={folder}: a run is there already ({sign}); choose another folder, "
                f"{otherwise}or remove it yourself"
            )


def refuse_other_config(folder: Path, cfg: DictConfig) -> None:
    """Refuse to continue a run with other settings. Raises ConfigError naming the first of them."""
    stored = stored_config(folder)
    if stored is None:
        return  # nothing was begun here, or only an earlier stage
    for name, was, now in differences(counted(stored), counted(to_plain(cfg))):
        if name != "init.path":  # of a stage: where the one before it lies
            raise ConfigError(
                f"resume=true: {folder} was begun with {name}={was}, not {now}; give what it was, "
                "or another hydra.run.dir"
            )


def stored_config(folder: Path) -> dict[str, Any] | None:
    """The config that a run was begun with, if it was. Raises ConfigError where damaged."""
    file = folder / CONFIG
    if not file.is_file():
        return None
    try:
        stored = OmegaConf.to_container(OmegaConf.load(file))
        if not isinstance(stored, dict):
            raise ValueError
    except Exception as error:  # YAML's and OmegaConf's many types
        raise ConfigError(f"{file}: damaged ({type(error).__name__}); remove it") from None
    return {str(key): value for key, value in stored.items()}


def differences(first: Any, second: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Keys whose values differ between two plain configs, by dotted path."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return [] if first == second else [(path, first, second)]
    found = []
    for key in [*first, *(key for key in second if key not in first)]:
        name = f"{path}.{key}" if path else str(key)
        found += differences(first.get(key), second.get(key), name)
    return found


def finished(folder: Path) -> dict[str, Any] | None:
    """The result of a run that came to its end, else None. Raises ConfigError where damaged."""
    try:
        return read_result(folder)
    except FileNotFoundError:
        return None
    except DataError:
        raise ConfigError(f"{folder / RESULT}: damaged; remove it to score again") from None


def last_checkpoint(folder: Path) -> Stopped | None:
    """Where the run of this folder can go on; None where it must begin anew.

    Raises WeightsError where its checkpoint is damaged.
    """
    from fcnexp.nn.checkpoints import read_checkpoint  # imports torch

    path = folder / "checkpoints" / LAST
    if not path.is_file():
        return None
    stored = read_checkpoint(path)
    if "global_step" not in stored or not stored.get("optimizer_states"):
        raise WeightsError(f"{path}: holds weights only, nothing to continue from; remove it")
    return Stopped(path, int(stored["global_step"]))


def keep_metrics(folder: Path, step: int) -> None:
    """Set a stopped run's metrics.csv aside: Lightning would write the continuation over it."""
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        kept = folder / f"metrics_until_{step}.csv"
        number = 1
        while kept.exists():
            number += 1
            kept = folder / f"metrics_until_{step}_{number}.csv"
        metrics.rename(kept)
