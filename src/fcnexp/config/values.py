"""Config values: typed by the schema, as plain containers, and OmegaConf's errors in one line."""

import difflib
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnexp.errors import ConfigError


def typed(cfg: DictConfig, schema: type) -> DictConfig:
    """Convert a config's values to the schema's types (`no` to False, "3" to 3).

    Raises ConfigError naming a key that the schema lacks or whose value does not fit.
    """
    known = schema.__dataclass_fields__  # type: ignore[attr-defined]  # it is a dataclass
    for key, value in cfg.items_ex(resolve=False):
        key = str(key)
        if key not in known:
            raise ConfigError(f"{key}: no such key{did_you_mean(key, known)}")
        if value is None and "None" not in str(known[key].type):
            raise ConfigError(f"{key}=null: required, so it cannot be null")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
    except OmegaConfBaseException as error:
        raise ConfigError(plain_message(error)) from None
    assert isinstance(merged, DictConfig)
    return merged


def to_plain(cfg: DictConfig) -> Any:
    """Config as plain containers, with interpolations resolved.

    Raises ConfigError naming a key that has no value.
    """
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(plain_message(error)) from None


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
