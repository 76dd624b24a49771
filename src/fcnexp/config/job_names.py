"""Names of a sweep's folders, derived from its config, so that the same job finds its folder."""

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
# Keys that need not be resolved; `scale` must stay, since other values refer to it.
LEFT_OUT = ("hydra", *(key for key in identity.FREE if key != "scale"))


def sweep_name(_root_: DictConfig) -> str:
    """Name of a sweep's folder: its file and its scale, or jobs_DIGEST of the overrides.

    This holds for the config of the whole command; a job's config, which has fewer overrides, gets
    the folder from the launch (`sweep.command.Ledger`).
    """
    choices = _root_.hydra.runtime.choices
    sweep, scale = choices.get("sweeps"), choices.get("scale")
    sweep = sweep or f"jobs_{typed_digest(_root_.hydra.overrides.task)}"
    return sweep if scale in (None, "full") else f"{sweep}_{scale}"


def typed_digest(overrides: Sequence[str]) -> str:
    """Digest of the overrides that count, whatever their order."""
    keys = {override: override.partition("=")[0].lstrip("+~") for override in overrides}
    free = tuple(f"{name}." for name in identity.FREE)
    counted = sorted(word for word, key in keys.items() if not f"{key}.".startswith(free))
    return hashlib.sha256("\n".join(counted).encode()).hexdigest()[:6]


def job_name(_root_: DictConfig) -> str:
    """MODEL_BACKBONE_seedN_DIGEST of a job's whole config.

    Never raises, since that would end the sweep: a job with a wrong config gets a name as well and
    reports the mistake when it runs.
    """
    return name_with(_root_, digest_of(_root_))


def name_with(config: DictConfig, digest: str) -> str:
    """Name of a job whose digest is known."""
    choices = config.hydra.runtime.choices
    parts = [choices.get("model"), choices.get("backbone"), f"seed{config.get('seed')}"]
    return "_".join([*(str(part).replace("/", "-") for part in parts), digest])


def varying(jobs: Sequence[Sequence[str]], typed: Sequence[str]) -> list[str]:
    """Overrides that distinguish each job from the others, one line per job.

    jobs: overrides of each. typed: overrides of the command, which all jobs share.
    """
    shared = set(typed) | (set.intersection(*map(set, jobs)) if len(jobs) > 1 else set())
    return [" ".join(word for word in job if word not in shared) for job in jobs]


def digest_of(cfg: DictConfig) -> str:
    """Digest of a run's config, with or without its `hydra` node.

    Values are converted by the schema first (`no` is False, "3" is 3); if one does not fit, all are
    taken as given. Opens no file, imports no part.
    """
    kept = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in LEFT_OUT])
    try:
        plain: Any = OmegaConf.to_container(typed(kept, RunConfig), resolve=True)
    except (ConfigError, OmegaConfBaseException):
        plain = OmegaConf.to_container(kept, resolve=False)
    return identity.digest(plain)
