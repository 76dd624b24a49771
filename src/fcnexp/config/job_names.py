"""Names of a sweep's folders, derived from its config, so that the same jobs meet there again."""

import hashlib
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnexp.config import identity
from fcnexp.config.schema import RunConfig
from fcnexp.config.values import typed
from fcnexp.errors import ConfigError

JOB = "${fcnexp.job:}"  # as conf/train.yaml has it
# What need not be resolved; `scale` must be there, since other values ask for it.
LEFT_OUT = ("hydra", *(key for key in identity.FREE if key != "scale"))


def sweep_name(_root_: DictConfig) -> str:
    """What a sweep's folder is called: after its file, and its scale.

    Where there is no file, jobs_DIGEST, of what was typed. That holds for the config of the whole
    command; that of a job, which was told less, has the folder from the launch (`callback`).
    """
    choices = _root_.hydra.runtime.choices
    sweep, scale = choices.get("sweeps"), choices.get("scale")
    sweep = sweep or f"jobs_{typed_digest(_root_.hydra.overrides.task)}"
    return sweep if scale in (None, "full") else f"{sweep}_{scale}"


def typed_digest(overrides: Sequence[str]) -> str:
    """A short name for a command, whatever the order of its words, by those that count."""
    keys = {override: override.partition("=")[0].lstrip("+~") for override in overrides}
    free = tuple(f"{name}." for name in identity.FREE)
    counted = sorted(word for word, key in keys.items() if not f"{key}.".startswith(free))
    return hashlib.sha256("\n".join(counted).encode()).hexdigest()[:6]


def job_name(_root_: DictConfig) -> str:
    """MODEL_BACKBONE_seedN_DIGEST of a job's whole config.

    Never raises: it would end the sweep. A job whose config is wrong gets a name, too, and says
    what is wrong when it runs.
    """
    return name_with(_root_, digest_of(_root_))


def name_with(config: DictConfig, digest: str) -> str:
    """The name of a job whose digest is known."""
    choices = config.hydra.runtime.choices
    parts = [choices.get("model"), choices.get("backbone"), f"seed{config.get('seed')}"]
    return "_".join([*(str(part).replace("/", "-") for part in parts), digest])


def varying(jobs: Sequence[Sequence[str]], typed: Sequence[str]) -> list[str]:
    """Of each job, the overrides that tell it from the others, in one line.

    jobs: overrides of each. typed: those of the command, which one job alone has with no other.
    """
    shared = set(typed) | (set.intersection(*map(set, jobs)) if len(jobs) > 1 else set())
    return [" ".join(word for word in job if word not in shared) for job in jobs]


def digest_of(cfg: DictConfig) -> str:
    """The digest of a run's config, with or without Hydra's part.

    In it `no` is False and "3" is 3 where the schema says so; where a value does not fit, all are
    taken as typed. Opens no file, imports no part.
    """
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in LEFT_OUT])
    try:
        plain: Any = OmegaConf.to_container(typed(kept, RunConfig), resolve=True)
    except (ConfigError, OmegaConfBaseException):
        plain = OmegaConf.to_container(kept, resolve=False)
    return identity.digest(plain)
