"""Check before a sweep starts that its jobs' data exists."""

import json
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from fcnexp.config.identity import GENERATED
from fcnexp.errors import DataError


def refuse(configs: Sequence[DictConfig]) -> None:
    """Raise DataError if the data of every job is missing.

    Each data set is opened once, as a training does first: its lists, and the existence of its
    files. Imports no torch if a job's scenes are generated, which are never missing.
    """
    if any(config.data.get("_target_") in GENERATED for config in configs):
        return
    missing: dict[str, str] = {}
    for config in configs:
        try:
            key = _key(config)
            if key not in missing:
                _open(config)
                return  # this job has its data
        except DataError as error:
            missing[key] = str(error)
        except Exception:  # not a matter of missing data: the job will report it
            return
    if missing:
        messages = "; ".join(dict.fromkeys(missing.values()))
        all_jobs = f" (the same for all {len(configs)} jobs; none was started)"
        raise DataError(messages + all_jobs * (len(configs) > 1))


def _key(config: DictConfig) -> str:
    """Identify a job's data set and the parts of it that the job reads."""
    nodes = [OmegaConf.to_container(node, resolve=True) for node in (config.data, config.modality)]
    return json.dumps([*nodes, bool(config.regime.steps)], sort_keys=True)


def _open(config: DictConfig) -> None:
    from fcnexp.build import part  # imports torch

    data, fields = part(config, "data"), tuple(part(config, "modality").fields)
    if config.regime.steps:
        data.train(fields)
    data.val(fields)
