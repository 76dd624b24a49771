"""Checks of a config that name the key that is wrong, before data or a GPU is touched."""

import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fcnexp import paths
from fcnexp.config.schema import RunConfig
from fcnexp.errors import ConfigError
from fcnexp.nn.fast.switches import plain
from fcnexp.reporting.paper import published
from fcnexp.system import this_process

KINDS = ("weight", "bias", "score_weight", "score_bias", "norm")  # as in fcnexp.task.optim
MOST_ON_A_SUM, LEAST_ON_A_MEAN = 1e-7, 1e-9  # rates between the papers' 1e-10 and 1e-4
MOST = 1.0  # of any rate
MOST_SEED = 2**32 - 1
BALANCES = ("inverse", "median")  # as in fcnexp.data.balance
SIDES = ("foreground", "background", "shape")  # as in fcnexp.task.masking


def compose_run(overrides: list[str], config_name: str = "train") -> DictConfig:
    """The config that these overrides give, as on the command line. Raises Hydra's errors."""
    GlobalHydra.instance().clear()
    offer_resolvers()
    with initialize_config_dir(str(paths.conf_dir()), version_base="1.3"):
        cfg = compose(config_name, overrides=overrides, return_hydra_config=True)
    with open_dict(cfg), read_write(cfg):
        if cfg.get("paper") is not None:
            OmegaConf.resolve(cfg.paper)  # it may name a choice, and those are told below `hydra`
        del cfg["hydra"]
    return cfg


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


def offer_resolvers() -> None:
    """Let configs ask for what they cannot hold.

    fcnexp.home: the folder of `sweeps`, whose files are options of that group. fcnexp.choice:GROUP,
    the option chosen of a group. fcnexp.scaled:A,B is A, or B where `scale` is `small`.
    fcnexp.sweep, fcnexp.job: the folders in which a sweep and its jobs are kept. fcnexp.cores: how
    many jobs this machine can do at a time on one core each, at most 8.
    """
    from fcnexp.config import job_names  # it needs this file

    home = str(paths.conf_dir().parent)
    resolvers: dict[str, Callable[..., Any]] = {
        "home": lambda: home,
        "choice": _choice,
        "scaled": _scaled,
        "sweep": job_names.sweep_name,
        "job": job_names.job_name,
        "cores": lambda: min(8, this_process.cores()),
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(f"fcnexp.{name}", resolver, replace=True)


def _choice(group: str, *, _root_: DictConfig) -> str | None:
    hydra = _root_.get("hydra")
    if hydra is None and HydraConfig.initialized():
        hydra = HydraConfig.get()  # a job's own config does not have it
    return None if hydra is None else str(hydra.runtime.choices.get(group))


def _scaled(full: Any, small: Any, *, _root_: DictConfig) -> Any:
    return small if _root_.get("scale") == "small" else full


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


def typed(cfg: DictConfig, schema: type) -> DictConfig:
    """The config with its values converted to the schema's types (`no` to False, "3" to 3).

    Raises ConfigError naming a key that the schema lacks or whose value does not fit.
    """
    known = schema.__dataclass_fields__  # type: ignore[attr-defined]  # it is a dataclass
    for key, value in cfg.items_ex(resolve=False):
        key = str(key)
        if key not in known:
            raise ConfigError(f"{key}: no such key{did_you_mean(key, known)}")
        if value is None and "None" not in str(known[key].type):
            raise ConfigError(f"{key}=null: it cannot be left out")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(plain_message(error)) from None
    assert isinstance(merged, DictConfig)
    return merged


def to_plain(cfg: DictConfig) -> Any:
    """The config as plain containers, interpolations resolved.

    Raises ConfigError naming a key that has no value.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(plain_message(error)) from None


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


def did_you_mean(word: str, known: Any) -> str:
    """` (did you mean X?)`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def key_paths(node: Any, path: str = "") -> Iterator[str]:
    """Every key of a config by its dotted path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield path + key
            yield from key_paths(value, f"{path}{key}.")


def plain_message(error: Exception) -> str:
    """An OmegaConf or Hydra error in one line, with the key's full path first."""
    while not str(error) and error.__cause__ is not None:
        error = error.__cause__  # type: ignore[assignment]  # Hydra wraps without a message
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    full_key = getattr(error, "full_key", None)
    lines[0] = lines[0].removeprefix("ConfigError raised while resolving interpolation: ")
    if "Missing mandatory value" in lines[0]:
        key = full_key or lines[0].rsplit(" ", 1)[-1]
        return f"{key}: required, and not given; add {key}=..."
    if "is not a ListConfig" in lines[0]:  # what was given, nobody says
        return f"{full_key}: a list, in brackets, say {full_key}=[1,2]"
    return f"{full_key}: {lines[0]}" if full_key else lines[0]


def _is_rate(number: Any) -> bool:
    return isinstance(number, int | float) and number >= 0


def _targets(node: Any, path: str) -> Iterator[tuple[str, str, list[str]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            keys = [k for k in node if not (k.startswith("_") and k.endswith("_"))]
            yield path, node["_target_"], keys
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}" if path else key)
