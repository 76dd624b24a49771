"""Names of a sweep's folders, derived from its config, so that the same jobs meet there again."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from fcnexp import identity
from fcnexp.config import to_plain, typed
from fcnexp.errors import ConfigError
from fcnexp.schema import RunConfig


def sweep_name(_root_: DictConfig) -> str:
    """What a sweep's folder is called: after its file and scale; `jobs` where it was typed."""
    choices = _root_.hydra.runtime.choices
    sweep, scale = choices.get("sweeps"), choices.get("scale")
    return "_".join(str(part) for part in (sweep or "jobs", scale) if part)


def job_name(_root_: DictConfig) -> str:
    """MODEL_BACKBONE_seedN_DIGEST of a job's whole config.

    Never raises: it would end the sweep. A job whose config is wrong gets a name, too, and says
    what is wrong when it runs.
    """
    choices = _root_.hydra.runtime.choices
    cfg = OmegaConf.masked_copy(_root_, [key for key in _root_ if key != "hydra"])
    parts = [choices.get("model"), choices.get("backbone"), f"seed{cfg.get('seed')}"]
    return "_".join([*(str(part).replace("/", "-") for part in parts), digest_of(cfg)])


def digest_of(cfg: DictConfig) -> str:
    """The digest of a run's config, in which `no` is False and "3" is 3 where the schema says so.

    Values are taken as typed where they fit no schema. Opens no file, imports no part.
    """
    try:
        plain: Any = to_plain(typed(cfg, RunConfig))
    except ConfigError:
        plain = OmegaConf.to_container(cfg, resolve=False)
    return identity.digest(plain)
