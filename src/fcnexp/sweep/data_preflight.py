"""Data that no job of a sweep would find: said once, before the first of them begins."""

import json
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from fcnexp.config.identity import GENERATED
from fcnexp.errors import DataError


def refuse(configs: Sequence[DictConfig]) -> None:
    """Raise DataError where all of these jobs would end for want of their data.

    Each data set is looked for once, as a training does first: its lists, and whether the files
    exist. Imports no torch where a job's scenes are generated, which cannot be missing.
    """
    if any(config.data.get("_target_") in GENERATED for config in configs):
        return
    missing: dict[str, str] = {}
    for config in configs:
        try:
            asked = _asked(config)
            if asked not in missing:
                _open(config)
                return  # this job has its data
        except DataError as error:
            missing[asked] = str(error)
        except Exception:  # something else is wrong, of which the job itself will tell
            return
    if missing:
        told = "; ".join(dict.fromkeys(missing.values()))
        many = f" (the same for all {len(configs)} jobs: none was begun)" * (len(configs) > 1)
        raise DataError(told + many)


def _asked(config: DictConfig) -> str:
    """What a job wants of which data set, as text."""
    nodes = [OmegaConf.to_container(node, resolve=True) for node in (config.data, config.modality)]
    return json.dumps([*nodes, bool(config.regime.steps)], sort_keys=True)


def _open(config: DictConfig) -> None:
    from fcnexp.build import part  # imports torch

    data, fields = part(config, "data"), tuple(part(config, "modality").fields)
    if config.regime.steps:
        data.train(fields)
    data.val(fields)
