"""Checks of a config that name the key that is wrong, before data or a GPU is touched."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from fcnexp.config.schema import RunConfig
from fcnexp.config.values import did_you_mean, to_plain, typed
from fcnexp.errors import ConfigError
from fcnexp.nn.fast.switches import plain
from fcnexp.papers.published import published

KINDS = ("weight", "bias", "score_weight", "score_bias", "norm")  # as in fcnexp.task.optim
MOST_ON_A_SUM, LEAST_ON_A_MEAN = 1e-7, 1e-9  # rates between the papers' 1e-10 and 1e-4
MOST = 1.0  # of any rate
MOST_SEED = 2**32 - 1
BALANCES = ("inverse", "median")  # as in fcnexp.data.balance
SIDES = ("foreground", "background", "shape")  # as in fcnexp.task.masking


@contextmanager
def fast_ways(cfg: DictConfig) -> Iterator[None]:
    """Leave out the fast ways that `plain` names while this lasts. Raises ConfigError."""
    ways = [cfg.plain] if isinstance(cfg.plain, str) else list(cfg.plain or ())
    with ExitStack() as stack:
        try:
            stack.enter_context(plain(map(str, ways)))
        except ValueError as error:
            raise ConfigError(f"plain={','.join(map(str, ways))}: {error}") from None
        yield


def check(cfg: DictConfig, schema: type = RunConfig) -> DictConfig:
    """The config with its values typed as the schema says, after all checks that need no data.

    Raises ConfigError naming the key, what it holds, and what is allowed.
    """
    cfg = typed(cfg, schema)
    plain = to_plain(cfg)
    counts = {f"regime.{key}": 1 for key in ("score_every", "batch_size", "accumulate")}
    others = {"regime.steps": 0, "workers": 0, "pictures": 0, "seed": 0}
    for key, least in (counts | others).items():
        value = OmegaConf.select(cfg, key)
        if value < least:
            raise ConfigError(f"{key}={value}: it counts from {least}")
    if cfg.seed > MOST_SEED:
        raise ConfigError(f"seed={cfg.seed}: at most {MOST_SEED}, which NumPy takes")
    if cfg.resume != "auto" and not isinstance(cfg.resume, bool):
        raise ConfigError(f"resume={cfg.resume}: allowed are auto, true, false")
    check_multipliers(cfg.regime.multipliers)
    check_rate(cfg.regime)
    check_loss(cfg.regime.loss)
    with fast_ways(cfg):
        pass  # it refuses what it does not know
    published(cfg.paper and to_plain(cfg.paper))
    for when, side in cfg.masking.items():
        if side is not None and side not in SIDES:
            raise ConfigError(
                f"masking.{when}={side}: allowed are {', '.join(SIDES)}, or null for nothing"
            )
    check_targets(plain)  # last, since it imports the parts, and torch with them: seconds
    return cfg


def check_multipliers(multipliers: Any) -> None:
    """Raise ConfigError where a kind of parameter is unknown or has no pair of multipliers."""
    for kind, pair in multipliers.items():
        if kind not in KINDS:
            raise ConfigError(
                f"regime.multipliers.{kind}: no such kind; there are {', '.join(KINDS)}"
            )
        numbers = to_plain(OmegaConf.create({"": pair}))[""]
        if not (
            isinstance(numbers, list) and len(numbers) == 2 and all(_is_rate(n) for n in numbers)
        ):
            raise ConfigError(
                f"regime.multipliers.{kind}={numbers}: a pair, of the rate and of the decay, both "
                "0 or more, say [2, 0]"
            )
    if missing := [kind for kind in KINDS if kind not in multipliers]:
        raise ConfigError(f"regime.multipliers.{missing[0]}: required, and not given")


def check_rate(regime: Any) -> None:
    """Raise ConfigError where a rate of plain SGD fits the other way of adding up the loss.

    Summed over the 1e5 pixels of an image the loss is 1e5 times the mean, and so is the step.
    """
    if not 0 <= regime.lr <= MOST:
        raise ConfigError(f"regime.lr={regime.lr:g}: a rate, 0 or more and at most {MOST:g}")
    if not str(regime.optimizer.get("_target_", "")).endswith(".SGD"):
        return  # Adam's step does not depend on the size of the loss
    if regime.loss.get("reduction") == "sum" and regime.lr > MOST_ON_A_SUM:
        raise ConfigError(
            f"regime.lr={regime.lr:g} with the loss summed over pixels: some 1e5 times as much as "
            "on their mean, which diverges; regime=heavy has 1e-10, and regime=accum takes the "
            "mean at 1e-3 to 5e-5"
        )
    if regime.loss.get("reduction") != "sum" and 0 < regime.lr < LEAST_ON_A_MEAN:
        raise ConfigError(
            f"regime.lr={regime.lr:g} with the loss averaged over pixels: nothing would be "
            "learned; such rates are for the summed loss of regime=heavy; accum has 1e-3 to 5e-5"
        )


def check_loss(loss: Any) -> None:
    """Raise ConfigError where the loss is sampled or balanced in a way there is not.

    A loss of your own need not have these keys.
    """
    keep, cell, balance = loss.get("keep", 1), loss.get("cell", 1), loss.get("balance")
    if not (_is_rate(keep) and 0 < keep <= 1):
        raise ConfigError(
            f"regime.loss.keep={keep}: the probability that a cell counts, above 0 and at most 1, "
            "say 0.25; 1 for all"
        )
    if type(cell) is not int or cell < 1:
        raise ConfigError(
            f"regime.loss.cell={cell}: pixels, 1 or more; 1 for single pixels, 32 for FCN-32s"
        )
    if balance is None or balance in BALANCES:
        return
    if isinstance(balance, str) or not isinstance(balance, Sequence):
        raise ConfigError(
            f"regime.loss.balance={balance}: allowed are {', '.join(BALANCES)}, a list of one "
            "weight per class, or null for none"
        )
    if not all(map(_is_rate, balance)) or not any(balance):
        raise ConfigError(
            f"regime.loss.balance={balance}: weights are numbers, 0 or more, and not all 0"
        )


def check_targets(node: Any, path: str = "") -> None:
    """Raise ConfigError where a `_target_` does not exist or does not take one of its keys."""
    for name, target, keys in _targets(node, path):
        try:
            part = get_object(target)
        except Exception as error:
            words = " ".join(str(error).split())
            raise ConfigError(f"{name}._target_={target}: cannot be imported ({words})") from None
        known = inspect.signature(part).parameters
        if any(p.kind is p.VAR_KEYWORD for p in known.values()):
            continue
        for key in keys:
            if key not in known:
                raise ConfigError(
                    f"{name}.{key}: {target} takes no such key{did_you_mean(key, known)}; "
                    f"it takes {', '.join(known)}"
                )


def _is_rate(number: Any) -> bool:
    return isinstance(number, int | float) and number >= 0


def _targets(node: Any, path: str) -> Iterator[tuple[str, str, list[str]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            keys = [k for k in node if not (k.startswith("_") and k.endswith("_"))]
            yield path, node["_target_"], keys
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}" if path else key)
