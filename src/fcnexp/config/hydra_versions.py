"""What Hydra 1.4 and OmegaConf 2.4 call differently from 1.3 and 2.3."""

from collections.abc import Callable, Iterator
from typing import Any

import hydra
import omegaconf
from omegaconf import DictConfig, OmegaConf

ASKS = tuple(map(int, hydra.__version__.split(".")[:2])) >= (1, 4)  # what instantiate may call
MODE_IS_TYPED = ASKS  # a file that is not the primary config, as of a sweep, cannot choose it
# What the configs of Hydra itself may call; plugins are in hydra_plugins by Hydra's own rule.
OF_HYDRA = ["fcnexp.*", "hydra.*", "hydra_plugins.*", "logging.*"]
BASE = {} if ASKS else {"version_base": "1.3"}  # behave as Hydra 1.3
NEW_NAME = tuple(map(int, omegaconf.__version__.split(".")[:2])) >= (2, 4)


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Register a resolver of `${name:...}`, in place of an earlier one."""
    register = OmegaConf.register_resolver if NEW_NAME else OmegaConf.register_new_resolver
    register(name, resolver, replace=True)  # type: ignore[call-arg]  # 2.3 has an older function


def of_main() -> dict[str, Any]:
    """Arguments of `hydra.main` besides those that name the config."""
    return BASE | ({"execution_whitelist": OF_HYDRA} if ASKS else {})


def whitelist(node: DictConfig) -> dict[str, Any]:
    """Arguments with which `instantiate` may call what a node names, and nothing else."""
    if not ASKS:
        return {}
    return {
        "_execution_whitelist_": sorted(set(_targets(OmegaConf.to_container(node, resolve=True))))
    }


def _targets(node: Any) -> Iterator[str]:
    """Yield each `_target_` in plain containers."""
    if isinstance(node, dict):
        if isinstance(target := node.get("_target_"), str):
            yield target
        node = list(node.values())
    for each in node if isinstance(node, list) else ():
        yield from _targets(each)
