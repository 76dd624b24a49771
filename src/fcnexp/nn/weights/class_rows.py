"""Weights of a net with other classes: score layers taken row by row, by the names of classes."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from fcnexp.nn.streams import Network


class ByName(NamedTuple):
    """Weights that fit a net with other classes.

    weights: by name, as in the net's state dict. new: names of those with rows that no class of the
    file provides. shared, added: classes whose rows were taken, and the others.
    """

    weights: dict[str, Tensor]
    new: set[str]
    shared: list[str]
    added: list[str]


def same_places(known: Sequence[str], names: Sequence[str]) -> bool:
    """Return True if classes need no matching: as many, and equal names only at equal places."""
    return len(known) == len(names) and all(
        known.index(name) == place for place, name in enumerate(names) if name in known
    )


def by_name(
    net: Network, weights: dict[str, Tensor], known: Sequence[str], names: Sequence[str]
) -> ByName:
    """Return a file's weights with the rows of the score layers in the order of the net's classes.

    known: classes of the file; names: of the net. The row of a class without namesake keeps the
    net's own value; so does a learned interpolation to pixels, which mixes classes.
    """
    pairs = [
        (names.index(name), known.index(name))
        for name in names
        if list(names).count(name) == list(known).count(name) == 1
    ]
    own = dict(net.named_parameters())
    scores = _names(own, [p for layer in net.score_layers() for p in layer.parameters()])
    fitted, new = dict(weights), set[str]()
    for name in scores & weights.keys():
        stored, rows = weights[name], own[name].detach().clone()
        if len(stored) != len(known) or stored.shape[1:] != rows.shape[1:]:
            continue  # another net's; the check of shapes reports it
        for here, there in pairs:
            rows[here] = stored[there]
        fitted[name] = rows
        if len(pairs) < len(names):
            new.add(name)
    for name in _names(own, net.net.dense.parameters()) & weights.keys():
        if own[name].shape != weights[name].shape:
            fitted[name] = own[name].detach().clone()
            new.add(name)
    shared = [names[here] for here, _ in pairs]
    return ByName(fitted, new, shared, [name for name in names if name not in shared])


def _names(own: dict[str, nn.Parameter], wanted: Iterable[nn.Parameter]) -> set[str]:
    known = {id(parameter) for parameter in wanted}
    return {name for name, parameter in own.items() if id(parameter) in known}
