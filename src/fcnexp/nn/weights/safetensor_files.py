"""safetensors files: a net's tensors, with a checkpoint's other entries as JSON in the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fcnexp.errors import WeightsError
from fcnexp.system.os_errors import reraise_system_error

SUFFIX = ".safetensors"
KEY = "fcnexp_checkpoint"  # of the metadata
MISSING = "safetensors is not installed; pip install -e '.[export]'"
NET = "net."  # start of a net's names in a checkpoint


def read_safetensors(path: Path, *, others: bool = False) -> dict[str, Any]:
    """Read a file of `write_safetensors` as a checkpoint; it can hold no code.

    others: also return what other programs stored, tensors by name. Raises WeightsError if the file
    is missing, damaged or not ours, OSError if it cannot be read.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such checkpoint")
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise WeightsError(f"{path}: {MISSING}") from None
    try:
        with safe_open(path, "pt") as file:
            found = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        facts = None if found is None else json.loads(found)
    except (SafetensorError, ValueError, RecursionError) as error:
        reraise_system_error(error)
        raise WeightsError(f"{path}: damaged ({str(error).splitlines()[0]})") from None
    if facts is None and others:
        return dict(tensors)
    if not isinstance(facts, dict):
        raise WeightsError(
            f"{path}: a safetensors file, but not one of python -m fcnexp.export; "
            "fcnexp.train reads its weights with init=checkpoint init.path=FILE"
        )
    _restore_tuples(facts)
    return {"fcnexp": facts, "state_dict": {NET + name: each for name, each in tensors.items()}}


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Write a net's tensors; facts: for other programs; known: a checkpoint's other entries."""
    from safetensors.torch import save_file

    kept = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    texts = {"format": "pt", "fcnexp": json.dumps(facts), KEY: json.dumps(known)}
    save_file(kept, path, metadata=texts)


def _restore_tuples(facts: dict[str, Any]) -> None:
    """Turn the values of an input recipe, such as means, into tuples again; JSON has only lists."""
    recipe = facts.get("recipe")
    fields = recipe.get("fields") if isinstance(recipe, dict) else None
    for values in fields.values() if isinstance(fields, dict) else []:
        if isinstance(values, dict):
            values |= {key: tuple(v) for key, v in values.items() if isinstance(v, list)}
