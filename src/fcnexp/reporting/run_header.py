"""Summary printed at the start of training: config options and typed keys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.tree import Tree

from fcnexp.system.places import short

# Most important first; other groups follow in their original order.
FIRST = (
    "experiment",
    "net",
    "data",
    "model",
    "backbone",
    "head",
    "dense",
    "modality",
    "init",
    "regime",
)


def print_start(
    config: Mapping[str, Any], choices: Mapping[str, Any], typed: Sequence[str], folder: Path
) -> None:
    """Print the chosen options, and the typed keys below them: a tree, or one line in a log.

    config: resolved, plain. choices: option by group, None if not set. typed: dotted keys. All
    other keys are in config.yaml in the folder.
    """
    console = Console(highlight=False, markup=False)
    groups = {name: option for name, option in _in_order(choices) if option is not None}
    keys = [key for key in dict.fromkeys(typed) if key not in choices and key != "sweeps"]
    if not console.is_terminal:
        options = [f"{name}={option}" for name, option in groups.items()]
        options += [f"{key}={value_of(config, key)}" for key in keys]
        print(" ".join(options), flush=True)
        return
    tree = Tree(short(folder))
    for name, option in groups.items():
        branch = tree.add(f"{name:<10} {option}{remark(config, name)}")
        for key in (key for key in keys if key.startswith(f"{name}.")):
            branch.add(f"{key.removeprefix(f'{name}.')} = {value_of(config, key)}")
    for key in (key for key in keys if key.partition(".")[0] not in groups):
        tree.add(f"{key} = {value_of(config, key)}")
    console.print(tree)


def remark(config: Mapping[str, Any], group: str) -> str:
    """Key numbers of a group: steps, batch size and rate for the regime; empty for others."""
    if group != "regime" or not config.get("regime"):
        return ""
    regime = config["regime"]
    images = regime["batch_size"] * regime["accumulate"]
    every = min(regime["score_every"], regime["steps"])
    return (
        f": {regime['steps']} steps of {images} image{'s' if images > 1 else ''}, "
        f"rate {regime['lr']:g}, scored every {every}"
    )


def value_of(config: Mapping[str, Any], key: str) -> str:
    """Value of a dotted key as text; a dash if the config no longer has it."""
    node: Any = config
    for name in key.split("."):
        node = node.get(name, "-") if isinstance(node, Mapping) else "-"
    return "null" if node is None else str(node).replace(", ", ",")


def _in_order(choices: Mapping[str, Any]) -> list[tuple[str, Any]]:
    first = [name for name in FIRST if name in choices]
    return [(name, choices[name]) for name in [*first, *(n for n in choices if n not in FIRST)]]
