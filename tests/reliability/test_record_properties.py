"""Digests, written records and counts do not depend on order or partition."""

import copy
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from properties import holds

from fcnexp import VOID
from fcnexp.config.compose import compose_run
from fcnexp.config.identity import FREE, ROOTS, digest
from fcnexp.config.values import to_plain
from fcnexp.system.atomic import write_atomically
from fcnexp.task.scores import SegmentationScores
from fcnexp.task.trimap import TrimapScores

RUNS = {
    "shapes": ["backbone=googlenet", "model=fcn8s"],
    "voc": ["data=voc", "regime=heavy", "init=imagenet"],
    "folder": ["data=folder", "data.root=mine/own", "augment=crop", "logger=wandb"],
    "rooms": ["data=rooms", "modality=rgb_hha", "init=staged"],
}
FREE_ROOT = {"shapes": True, "voc": False, "folder": False, "rooms": True}
VALUES = st.integers() | st.floats(allow_nan=False) | st.text(min_size=1) | st.booleans()
SEEDS = st.integers(0, 2**31)


@functools.cache
def config(run: str) -> dict:
    """Complete config of a run as plain values, without required values that are not given."""
    return without_missing(to_plain(compose_run(RUNS[run])))


def without_missing(node):
    if isinstance(node, dict):
        return {key: without_missing(value) for key, value in node.items() if value != "???"}
    return node


def leaves(node: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def counts(run: str, path: tuple[str, ...]) -> bool:
    """Return True if a key can change a number."""
    dotted = ".".join(path)
    if any(dotted == free or dotted.startswith(f"{free}.") for free in FREE):
        return False
    return not (path[0] == "data" and path[-1] in ROOTS and FREE_ROOT[run])


def shuffled(node, rng: np.random.Generator):
    """Shuffle the keys of nested dictionaries."""
    if not isinstance(node, dict):
        return node
    keys = list(node)
    return {keys[i]: shuffled(node[keys[i]], rng) for i in rng.permutation(len(keys))}


@holds(40, st.sampled_from(list(RUNS)), SEEDS)
def test_digest_does_not_depend_on_the_order_of_keys(run, seed):
    assert digest(shuffled(config(run), np.random.default_rng(seed))) == digest(config(run))


@holds(200, st.sampled_from(list(RUNS)), st.integers(0, 10_000), VALUES)
def test_digest_changes_exactly_with_counted_keys(run, place, value):
    changed, paths = copy.deepcopy(config(run)), list(leaves(config(run)))
    path = paths[place % len(paths)]
    node = functools.reduce(dict.__getitem__, path[:-1], changed)
    if node[path[-1]] == value and type(node[path[-1]]) is type(value):
        return
    is_root = path[0] == "data" and path[-1] in ROOTS  # must be a valid path
    node[path[-1]] = f"elsewhere/{value!r}/other" if is_root else value
    assert (digest(changed) != digest(config(run))) == counts(run, path), path


@pytest.mark.parametrize("run", RUNS)
def test_digest_changes_with_each_counted_key(run):
    """Try every key of a config, so that none is left to chance."""
    wrong = []
    for path in leaves(config(run)):
        changed = copy.deepcopy(config(run))
        functools.reduce(dict.__getitem__, path[:-1], changed)[path[-1]] = "another/value"
        if (digest(changed) != digest(config(run))) != counts(run, path):
            wrong.append(path)
    assert not wrong


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("written")


def test_written_text_is_complete_or_unchanged(folder):
    path = folder / "record.json"

    @holds(60, st.text(), st.text(), st.sampled_from(["open", "fsync", "replace", None]))
    def old_or_new_is_complete(old, new, fault):
        write_atomically(path, old)
        assert path.read_bytes() == old.encode()
        if fault is None:
            write_atomically(path, new)
            assert path.read_bytes() == new.encode()
            return
        where = {"open": (Path, "open"), "fsync": (os, "fsync"), "replace": (os, "replace")}[fault]
        with (
            mock.patch.object(*where, side_effect=OSError(28, "No space left on device")),
            pytest.raises(OSError, match="No space left"),
        ):
            write_atomically(path, new)
        assert path.read_bytes() == old.encode()

    old_or_new_is_complete()


def image_maps(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw predictions and labels of five classes, (count, 6, 7), with void."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 5, (count, 6, 7)).astype(np.uint8)
    label[rng.random(label.shape) < 0.2] = VOID
    return torch.from_numpy(rng.integers(0, 5, label.shape)), torch.from_numpy(label)


@holds(100, SEEDS, st.integers(1, 12), st.lists(st.integers(0, 12), max_size=6), st.booleans())
def test_counts_do_not_depend_on_order_or_partition(seed, count, cuts, near):
    prediction, label = image_maps(seed, count)

    def counted(places: list[int]) -> torch.Tensor:
        metric = TrimapScores(5, (1, 2)) if near else SegmentationScores(5)
        metric.update(prediction[places], label[places])
        return metric.matrices if near else metric.matrix

    order = np.random.default_rng(seed + 1).permutation(count)
    parts = [part.tolist() for part in np.split(order, sorted(min(cut, count) for cut in cuts))]
    whole = counted(list(range(count)))
    assert torch.equal(sum(counted(part) for part in parts), whole)
    one_by_one = TrimapScores(5, (1, 2)) if near else SegmentationScores(5)
    for place in order.tolist():
        one_by_one.update(prediction[[place]], label[[place]])
    assert torch.equal(one_by_one.matrices if near else one_by_one.matrix, whole)
    assert near or int(whole.sum()) == int((label != VOID).sum())
