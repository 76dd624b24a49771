"""Names of a sweep's folders, derived from its config, so that the same jobs meet there again."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnexp import identity
from fcnexp.config import typed
from fcnexp.errors import ConfigError
from fcnexp.schema import RunConfig


def sweep_name(_root_: DictConfig) -> str:
    """What a sweep's folder is called: after its file, `jobs` where it was typed, and its scale."""
    choices = _root_.hydra.runtime.choices
    sweep, scale = choices.get("sweeps") or "jobs", choices.get("scale")
    return sweep if scale in (None, "full") else f"{sweep}_{scale}"


def job_name(_root_: DictConfig) -> str:
    """MODEL_BACKBONE_seedN_DIGEST of a job's whole config.

    Never raises: it would end the sweep. A job whose config is wrong gets a name, too, and says
    what is wrong when it runs.
    """
    choices = _root_.hydra.runtime.choices
    cfg = without_hydra(_root_)
    parts = [choices.get("model"), choices.get("backbone"), f"seed{cfg.get('seed')}"]
    return "_".join([*(str(part).replace("/", "-") for part in parts), digest_of(cfg)])


def without_hydra(config: DictConfig) -> DictConfig:
    """A job's whole config without Hydra's own part: what its task gets."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def digest_of(cfg: DictConfig) -> str:
    """The digest of a run's config, in which `no` is False and "3" is 3 where the schema says so.

    Values are taken as typed where they fit no schema. Opens no file, imports no part.
    """
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in identity.FREE])
    try:
        plain: Any = OmegaConf.to_container(typed(kept, RunConfig), resolve=True)
    except (ConfigError, OmegaConfBaseException):
        plain = OmegaConf.to_container(kept, resolve=False)
    return identity.digest(plain)
