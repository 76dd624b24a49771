"""Composing a config from conf/, and the resolvers that conf/ uses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from fcnexp.config import band_values, job_names
from fcnexp.config.hydra_versions import BASE, register_resolver
from fcnexp.system import this_process

PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> Path:
    """Folder of the config groups: inside an installed wheel, or next to `src` in a checkout."""
    packed = PACKAGE / "conf"
    return packed if packed.is_dir() else PACKAGE.parents[1] / "conf"


def compose_run(
    overrides: list[str], config_name: str = "train", folders: Sequence[Path] = ()
) -> DictConfig:
    """Compose the config that these overrides give on the command line. Raises Hydra's errors.

    folders: of further options, as of `--config-dir`.
    """
    GlobalHydra.instance().clear()
    offer_resolvers()
    places = ",".join(f'"file://{path.resolve()}"' for path in [conf_dir().parent, *folders])
    searched = [f"hydra.searchpath=[{places}]"] if folders else []
    with initialize_config_dir(str(conf_dir()), **BASE):
        cfg = compose(config_name, overrides=[*overrides, *searched], return_hydra_config=True)
    with open_dict(cfg), read_write(cfg):
        if cfg.get("paper") is not None:
            OmegaConf.resolve(cfg.paper)  # it may refer to a choice, which is stored in `hydra`
        del cfg["hydra"]
    return cfg


def offer_resolvers() -> None:
    """Register the resolvers that conf/ uses.

    fcnexp.home: folder that holds `sweeps`. fcnexp.choice:GROUP: the option chosen of a group.
    fcnexp.scaled:A,B: A, or B if `scale` is `small`. fcnexp.steps:IMAGES: steps that take this many
    images. fcnexp.sweep, fcnexp.job: folder names of a sweep and of its jobs. fcnexp.cores: number
    of jobs that this machine can run in parallel on one core each, at most 8. fcnexp.bands:KEY: a
    value of the data's bands.yaml.
    """
    home = str(conf_dir().parent)
    resolvers: dict[str, Callable[..., Any]] = {
        "home": lambda: home,
        "choice": _choice,
        "scaled": _scaled,
        "sweep": job_names.sweep_name,
        "job": job_names.job_name,
        "steps": _steps,
        "bands": band_values.value_of,
        "cores": lambda: min(8, this_process.cores()),
    }
    for name, resolver in resolvers.items():
        register_resolver(f"fcnexp.{name}", resolver)


def _choice(group: str, *, _root_: DictConfig) -> str | None:
    hydra = _root_.get("hydra")
    if hydra is None and HydraConfig.initialized():
        hydra = HydraConfig.get()  # a job's own config has no `hydra` node
    return None if hydra is None else str(hydra.runtime.choices.get(group))


def _scaled(full: Any, small: Any, *, _root_: DictConfig) -> Any:
    return small if _root_.get("scale") == "small" else full


def _steps(images: int, *, _root_: DictConfig) -> int:
    images_per_step = int(_root_.regime.batch_size * _root_.regime.accumulate)
    return max(1, round(images / images_per_step))


def what_was_typed() -> dict[str, Any]:
    """Choices and keys given for this run, by command line or sweep, for its record.

    choices: option by group, None if the group has none. typed: dotted keys.
    """
    settings = HydraConfig.get()
    choices = {
        group: option
        for group, option in sorted(settings.runtime.choices.items())
        if "/" not in group and group not in ("sweeps", "recipe")
    }
    keys = [override.partition("=")[0].lstrip("+~") for override in settings.overrides.task]
    return {"choices": choices, "typed": keys}
