"""Checks of a config that name the wrong key before data or a GPU is touched."""

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from fcnexp.config.callback_checks import check_callbacks, check_parts
from fcnexp.config.schema import RunConfig
from fcnexp.config.trainer_arguments import check_arguments
from fcnexp.config.values import did_you_mean, to_plain, typed
from fcnexp.errors import ConfigError
from fcnexp.nn.fast.switches import plain
from fcnexp.papers.published import published
from fcnexp.system.os_errors import reraise_system_error

KINDS = ("weight", "bias", "score_weight", "score_bias", "norm")  # as in fcnexp.task.optim
MOST_ON_A_SUM, LEAST_ON_A_MEAN = 1e-7, 1e-9  # rates between the papers' 1e-10 and 1e-4
MOST = 1.0  # of any rate
MOST_SEED = 2**32 - 1
ACCELERATORS = ("auto", "cpu", "gpu")
FLOAT16 = "16-mixed"  # with a scaled loss, on CUDA GPUs only
PRECISIONS = ("auto", "32-true", "bf16-mixed", FLOAT16)
SHORT = {"bf16": "bf16-mixed", "fp16": FLOAT16, "16": FLOAT16, "32": "32-true"}
GRAPHS = "reduce-overhead"  # torch.compile's mode that records a step's kernels in a CUDA graph
COMPILE = (False, True, GRAPHS)
# Values that our own parts allow, by node, class and key. The parts check them as well, but only
# once torch is imported.
ALLOWED = {
    ("regime.loss", "PixelLoss", "reduction"): ("mean", "sum", "image_means"),
    ("model", "SkipNet", "fusion"): ("sum", "max"),
    ("model", "SkipNet", "trained"): ("all", "scores"),
    ("dense", "Deconvolution", "learned"): ("none", "skips", "all"),
    ("dense", "Deconvolution", "edges"): (None, "zeros", "repeat"),
}
LOGGER = "+logger.others.NAME._target_=lightning.pytorch.loggers.MLFlowLogger"
SAMPLINGS = ("shuffle", "with_replacement")  # as in fcnexp.data.datamodule
BALANCES = ("inverse", "median")  # as in fcnexp.data.balance
SIDES = ("foreground", "background", "shape")  # as in fcnexp.task.masking


@contextmanager
def without_fast_paths(cfg: DictConfig) -> Iterator[None]:
    """Switch off the fast paths that `plain` names inside the block. Raises ConfigError."""
    ways = [cfg.plain] if isinstance(cfg.plain, str) else list(cfg.plain or ())
    with ExitStack() as stack:
        try:
            stack.enter_context(plain(map(str, ways)))
        except ValueError as error:
            raise ConfigError(f"plain={','.join(map(str, ways))}: {error}") from None
        yield


def check(cfg: DictConfig, schema: type = RunConfig) -> DictConfig:
    """The config with its values typed as the schema says, after all checks that need no data.

    Raises ConfigError naming the key, its value, and what is allowed.
    """
    cfg = check_values(cfg, schema)
    check_targets(to_plain(cfg))
    return cfg


def check_values(cfg: DictConfig, schema: type = RunConfig) -> DictConfig:
    """The config with its values typed as the schema says, after all checks that need no torch.

    Raises ConfigError naming the key, its value, and what is allowed.
    """
    check_devices(cfg)
    cfg = typed(cfg, schema)
    to_plain(cfg)  # every required key has a value
    counts = {f"regime.{key}": 1 for key in ("score_every", "batch_size", "accumulate")}
    counts["score_batch"] = 1
    others = {"regime.steps": 0, "workers": 0, "pictures": 0, "seed": 0}
    for key, least in (counts | others).items():
        value = OmegaConf.select(cfg, key)
        if value < least:
            raise ConfigError(f"{key}={value}: must be {least} or more")
    if cfg.seed > MOST_SEED:
        raise ConfigError(f"seed={cfg.seed}: must be at most {MOST_SEED}, NumPy's limit")
    if cfg.resume != "auto" and not isinstance(cfg.resume, bool):
        raise ConfigError(f"resume={cfg.resume}: allowed are auto, true, false")
    check_multipliers(cfg.regime.multipliers)
    check_rate(cfg.regime)
    check_loss(cfg.regime.loss)
    check_words(cfg)
    check_trainer(cfg.trainer)
    check_callbacks(cfg.callbacks)
    check_parts("logger.others", cfg.logger.others, LOGGER)
    with without_fast_paths(cfg):
        pass  # raises if it does not know a name
    published(cfg.paper and to_plain(cfg.paper))
    for when, side in cfg.masking.items():
        if side is not None and side not in SIDES:
            raise ConfigError(
                f"masking.{when}={side}: allowed are {', '.join(SIDES)}, or null for nothing"
            )
    return cfg


def check_words(cfg: DictConfig) -> None:
    """Raise ConfigError if a key of one of our parts holds a word that the part does not know."""
    refuse_unknown("regime.sampling", cfg.regime.sampling, SAMPLINGS)
    for (name, part, key), allowed in ALLOWED.items():
        node = OmegaConf.select(cfg, name)
        if key in node and str(node.get("_target_", "")).endswith(f".{part}"):
            refuse_unknown(f"{name}.{key}", node[key], allowed)


def check_devices(cfg: DictConfig) -> None:
    """Raise ConfigError if `trainer.devices` chooses devices, as in Lightning, or all of them."""
    given = OmegaConf.select(cfg, "trainer.devices", default=1)
    words = str(given).replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", words):
        return
    chosen = re.findall(r"\d+", words) if isinstance(given, ListConfig | str) else []
    these = ",".join(chosen or "01")
    raise ConfigError(
        f"trainer.devices={words}: must be a number of devices, 1 or more; to choose GPUs, write "
        f"CUDA_VISIBLE_DEVICES={these} before the command, with trainer.devices={len(chosen) or 2}"
    )


def check_trainer(choice: Any) -> None:
    """Raise ConfigError if `trainer` holds a value that no machine knows."""
    precision = SHORT.get(choice.precision, choice.precision)
    refuse_unknown("trainer.accelerator", choice.accelerator, ACCELERATORS)
    also = ", bf16 for bf16-mixed, fp16 for 16-mixed"
    refuse_unknown("trainer.precision", precision, PRECISIONS, also)
    if precision == FLOAT16 and choice.accelerator == "cpu":
        refuse_float16(choice.precision, "trainer.accelerator=cpu uses none")
    check_arguments(choice)
    for key in ("devices", "threads"):
        if choice[key] is not None and choice[key] < 1:
            raise ConfigError(f"trainer.{key}={choice[key]}: must be 1 or more")
    refuse_unknown("trainer.compile", choice.compile, COMPILE, f"; {GRAPHS} needs a GPU")


def refuse_float16(given: str, reason: str) -> NoReturn:
    """Raise ConfigError, as the run has no GPU that computes in float16."""
    raise ConfigError(
        f"trainer.precision={given}: float16 needs a CUDA GPU, and {reason}; choose 32-true, bf16 "
        "(fast if the processor supports bfloat16), or auto"
    )


def refuse_unknown(key: str, value: Any, allowed: Sequence[Any], also: str = "") -> None:
    """Raise ConfigError if a value is none of those allowed, naming the nearest."""
    if value not in allowed:
        words = ["null" if word is None else str(word).lower() for word in allowed]
        near = did_you_mean(str(value), words)
        raise ConfigError(f"{key}={value}: allowed are {', '.join(words)}{also}{near}")


def check_multipliers(multipliers: Any) -> None:
    """Raise ConfigError if a kind of parameter is unknown or has no pair of multipliers."""
    for kind, pair in multipliers.items():
        if kind not in KINDS:
            raise ConfigError(
                f"regime.multipliers.{kind}: no such kind; choose one of {', '.join(KINDS)}"
            )
        numbers = to_plain(OmegaConf.create({"": pair}))[""]
        if not (
            isinstance(numbers, list) and len(numbers) == 2 and all(_is_rate(n) for n in numbers)
        ):
            raise ConfigError(
                f"regime.multipliers.{kind}={numbers}: must be a pair, for rate and decay, both 0 "
                "or more, such as [2, 0]"
            )
    if missing := [kind for kind in KINDS if kind not in multipliers]:
        raise ConfigError(f"regime.multipliers.{missing[0]}: required, but not given")


def check_rate(regime: Any) -> None:
    """Raise ConfigError if a learning rate of plain SGD does not suit the loss's reduction.

    A loss summed over the 1e5 pixels of an image is 1e5 times the mean, and so is the step.
    """
    if not 0 <= regime.lr <= MOST:
        raise ConfigError(f"regime.lr={regime.lr:g}: must lie between 0 and {MOST:g}")
    if not str(regime.optimizer.get("_target_", "")).endswith(".SGD"):
        return  # Adam's step does not depend on the scale of the loss
    if regime.loss.get("reduction") == "sum" and regime.lr > MOST_ON_A_SUM:
        raise ConfigError(
            f"regime.lr={regime.lr:g}: diverges with the loss summed over pixels, which is some "
            "1e5 times their mean; regime=heavy uses 1e-10, and regime=accum takes the mean at "
            "1e-3 to 5e-5"
        )
    if regime.loss.get("reduction") != "sum" and 0 < regime.lr < LEAST_ON_A_MEAN:
        raise ConfigError(
            f"regime.lr={regime.lr:g}: too small to learn with the loss averaged over pixels; such "
            "rates suit the summed loss of regime=heavy; regime=accum uses 1e-3 to 5e-5"
        )


def check_loss(loss: Any) -> None:
    """Raise ConfigError if the loss is sampled or balanced in an unknown way.

    A custom loss need not have these keys.
    """
    keep, cell, balance = loss.get("keep", 1), loss.get("cell", 1), loss.get("balance")
    if not (_is_rate(keep) and 0 < keep <= 1):
        raise ConfigError(
            f"regime.loss.keep={keep}: must be the probability that a cell counts, above 0 and at "
            "most 1, such as 0.25; 1 counts all"
        )
    if type(cell) is not int or cell < 1:
        raise ConfigError(
            f"regime.loss.cell={cell}: must be 1 pixel or more; 1 for single pixels, 32 for FCN-32s"
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
            f"regime.loss.balance={balance}: weights must be numbers, 0 or more, and not all 0"
        )


def check_targets(node: Any, path: str = "") -> None:
    """Raise ConfigError if a `_target_` does not exist or does not take one of its keys.

    Imports the parts, and torch with them, which takes seconds.
    """
    for name, target, keys in _targets(node, path):
        try:
            part = get_object(target)
        except Exception as error:
            reraise_system_error(error)
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
