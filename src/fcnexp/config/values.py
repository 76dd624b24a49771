"""Config values: typed by the schema, as plain containers, and OmegaConf's errors in one line."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fcnexp.config import trainer_arguments
from fcnexp.config.schema import OpenTrainer
from fcnexp.errors import ConfigError

# Keys of other programs, and what to use here.
STEPS = "regime.steps counts optimiser steps, of regime.batch_size * regime.accumulate images each"
SCORING = "regime.score_every is the number of steps between scorings"
CHOSEN = "trainer.devices is a number of devices, which CUDA_VISIBLE_DEVICES chooses"
ELSEWHERE = {
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs", "max_steps", "max_iters"), STEPS),
    "limit_train_batches": "regime.steps=2 trains two steps",
    "limit_val_batches": "the validation set is always scored whole; a trial takes fewer images, "
    "such as data.num_val=8 of data=shapes, or a shorter list as data.val_split",
    "fast_dev_run": "regime.steps=2 tries training and scoring, dry_run=true only builds the net",
    "accumulate_grad_batches": "regime.accumulate is the number of passes per step",
    "gradient_clip_val": "regime.clip is the largest norm of the gradients",
    **dict.fromkeys(("val_check_interval", "check_val_every_n_epoch"), SCORING),
    **dict.fromkeys(("gpus", "gpu", "device_ids", "cuda"), CHOSEN),
    "num_workers": "workers is the number of data-loading processes",
    **dict.fromkeys(("default_root_dir", "output_dir", "work_dir"), "hydra.run.dir is the folder"),
    **dict.fromkeys(("learning_rate", "base_lr"), "regime.lr is the learning rate"),
    "ckpt_path": "the same command with its hydra.run.dir continues a run, init=checkpoint "
    "init.path=FILE starts from its weights, and evaluate and predict take checkpoint=FILE",
    "tags": "a run is tagged in W&B with its experiment, model and backbone, and hydra.run.dir=DIR "
    "names its folder",
    "debug": "regime.steps=2 tries training and scoring, scale=small takes minutes, and "
    "+trainer.profiler=simple, +trainer.detect_anomaly=true and +trainer.limit_train_batches=10 "
    "+trainer.max_epochs=1 are as in Lightning",
    "hparams_search": "hydra/sweeper=search searches with Optuna, see docs/CLUSTERS.md",
}


def typed(cfg: DictConfig, schema: type) -> DictConfig:
    """Convert a config's values to the schema's types (`no` to False, "3" to 3).

    Arguments of Lightning's Trainer that were added to `trainer` stay as they are, if the schema
    allows them. Raises ConfigError naming a key that the schema lacks or whose value does not fit.
    """
    known = schema.__dataclass_fields__  # type: ignore[attr-defined]  # it is a dataclass
    for key, value in cfg.items_ex(resolve=False):
        key = str(key)
        if key not in known:
            raise ConfigError(no_such_key(key, {name: None for name in known}))
        if value is None and "None" not in str(known[key].type):
            raise ConfigError(f"{key}=null: required, so it cannot be null")
    added: dict[str, Any] = {}
    if "trainer" in known and known["trainer"].type is OpenTrainer:
        cfg, added = _without_arguments(cfg)
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
    except OmegaConfBaseException as error:
        if re.match(r"Key '[^']+' not in '\w+'", str(error)):  # of a class of the schema
            raise ConfigError(_not_in_the_schema(str(error.full_key), cfg)) from None
        raise ConfigError(plain_message(error)) from None
    assert isinstance(merged, DictConfig)
    for name, value in added.items():
        with open_dict(merged.trainer):
            merged.trainer[name] = value
    return merged


def _without_arguments(cfg: DictConfig) -> tuple[DictConfig, dict[str, Any]]:
    """Return the config without arguments of Lightning's Trainer in `trainer`, and these."""
    given = OmegaConf.is_dict(trainer := cfg.get("trainer"))
    names = [name for name in trainer_arguments.PASSED if given and name in trainer]
    if not names:
        return cfg, {}
    cfg = cfg.copy()
    with open_dict(cfg.trainer), read_write(cfg.trainer):
        return cfg, {name: cfg.trainer.pop(name) for name in names}


def _not_in_the_schema(key: str, cfg: DictConfig) -> str:
    """Message for a key that was added to a node whose keys are fixed."""
    config: Any = OmegaConf.to_container(cfg, resolve=False)
    *nodes, last = key.split(".")
    node = config
    for name in nodes:
        node = node[name]
    del node[last]
    return no_such_key(key, config)


def to_plain(cfg: DictConfig) -> Any:
    """Config as plain containers, with interpolations resolved.

    Raises ConfigError naming a key that has no value.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(plain_message(error)) from None


def no_such_key(key: str, config: dict[str, Any]) -> str:
    """Message for a key that the config lacks: the nearest key, and the keys of its node."""
    parent, _, last = key.rpartition(".")
    if parent == "trainer" and last in trainer_arguments.PASSED:
        return f"{key}: an argument of Lightning's Trainer, which needs a + before: +{key}=VALUE"
    if parent == "trainer" and last in trainer_arguments.REFUSED:
        return f"{key}: not passed to Lightning's Trainer; {trainer_arguments.REFUSED[last]}"
    if last in ELSEWHERE:
        return f"{key}: no such key; {ELSEWHERE[last]}"
    node = OmegaConf.select(OmegaConf.create(config), parent) if parent else None
    own = [str(name) for name in node or () if not str(name).startswith("_")]
    has = f"; {parent} has {', '.join(own)}" if own else ""
    inside = [path for path in key_paths(config) if path.endswith(f".{key}")]
    public = [path for path in key_paths(config) if not path.rpartition(".")[2].startswith("_")]
    if not inside and parent:  # a key of another node
        inside = [path for path in public if path.endswith(f".{last}")]
    near = f" (did you mean {inside[0]}?)" if inside else did_you_mean(key, public)
    return f"{key}: no such key{near}{has}; --cfg job prints them all"


def did_you_mean(word: str, known: Any) -> str:
    """` (did you mean X?)`, or "" if no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def key_paths(node: Any, path: str = "") -> Iterator[str]:
    """Dotted path of every key of a config."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield path + key
            yield from key_paths(value, f"{path}{key}.")


def plain_message(error: Exception) -> str:
    """One line for an OmegaConf or Hydra error, with the key's full path first."""
    while not str(error) and error.__cause__ is not None:
        error = error.__cause__  # type: ignore[assignment]  # Hydra wraps without a message
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    full_key = getattr(error, "full_key", None)
    lines[0] = lines[0].removeprefix("ConfigError raised while resolving interpolation: ")
    if "Missing mandatory value" in lines[0]:
        key = full_key or lines[0].rsplit(" ", 1)[-1]
        return f"{key}: required, but not given; add {key}=..."
    if "is not a ListConfig" in lines[0]:  # OmegaConf does not say what was given
        return f"{full_key}: must be a list in brackets, such as {full_key}=[1,2]"
    return f"{full_key}: {lines[0]}" if full_key else lines[0]
