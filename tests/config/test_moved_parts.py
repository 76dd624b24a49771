"""Stored configs that name a part where it was before it moved."""

from pathlib import Path

import pytest
import torch
from hydra.utils import get_object

from fcnexp.config.compose import compose_run
from fcnexp.config.identity import digest
from fcnexp.config.moved_parts import FIRST, PRESENT, renamed
from fcnexp.config.values import to_plain
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.restore import net_of

# Written by bc75d9f, the last commit before the move: `model=fcn32s dense=rarefaction`, 2 steps.
OLD = Path(__file__).with_name("before_the_move.ckpt")


def test_checkpoint_from_before_the_move_gives_its_scores():
    stored = read_checkpoint(OLD)
    assert stored["fcnexp"]["config"]["dense"]["_target_"] == "fcnexp.nn.rarefy.Rarefaction"
    net, _ = net_of(stored, str(OLD))
    rgb = torch.randn(1, 3, 40, 56, generator=torch.Generator().manual_seed(0)) * 50
    with torch.inference_mode():
        scores = net.double()({"rgb": rgb.double()})
    # As bc75d9f computed them.
    assert float(scores.sum()) == pytest.approx(-306.2884875008693, rel=1e-9)
    assert scores[0, :3, 20, 30].tolist() == pytest.approx(
        [0.05233178920440345, -0.05299249893123817, -0.011380242088646346], rel=1e-9
    )


def test_digest_is_that_from_before_the_move():
    config = to_plain(compose_run(["model=fcn8s", "dense=rarefaction", "init=staged"]))
    assert digest(config) == "3b27f7f781"  # as bc75d9f computed it
    assert digest(renamed(config, FIRST)) == "3b27f7f781"


@pytest.mark.parametrize("first", PRESENT)
def test_every_moved_part_is_where_the_table_says(first):
    assert callable(get_object(PRESENT[first]))
    with pytest.raises(Exception):  # noqa: B017  # Hydra's own types
        get_object(first)


def test_names_are_changed_in_lists_and_nested_nodes_only_as_targets():
    config = {"a": [{"_target_": "fcnexp.nn.init.scratch"}], "b": "fcnexp.nn.init.scratch"}
    assert renamed(config) == {
        "a": [{"_target_": "fcnexp.nn.weights.init.scratch"}],
        "b": "fcnexp.nn.init.scratch",
    }
