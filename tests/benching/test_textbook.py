"""The textbook net equals the released one: scores and gradients agree with our nets'."""

import pytest
import torch

from fcnexp.benching import nets
from fcnexp.benching.learning import flat
from fcnexp.benching.measure import textbook_flop
from fcnexp.benching.textbook import Textbook
from fcnexp.benching.train_candidates import PHASES, learner

CPU = torch.device("cpu")
CHANNELS = 8


@pytest.mark.parametrize(
    ("model", "size"),
    [("fcn32s", (1, 1)), ("fcn16s", (17, 30)), ("fcn8s", (1, 1)), ("fcn8s", (23, 35))],
)
@torch.inference_mode()
def test_scores_equal_ours_in_float64(model, size):
    ours, textbook = (nets.build(kind, model, CHANNELS) for kind in (nets.OURS, nets.TEXTBOOK))
    image = nets.image(size).double()
    theirs = textbook.double()(image)
    mine = ours.double()({"rgb": image})
    assert mine.shape == (1, 21, *size)
    assert theirs.abs().max() > 0.1  # the scores do not vanish
    torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_gradients_equal_ours_in_float64():
    both = (learner(name, "fcn8s", CHANNELS, CPU) for name in (nets.TEXTBOOK, nets.OURS))
    theirs, mine = (flat(one, (17, 40), torch.float64) for one in both)
    assert (theirs != 0).double().mean() > 0.5
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))


def test_a_step_updates_weights_and_records_its_phases():
    one = learner(nets.TEXTBOOK, "fcn32s", CHANNELS, CPU)
    before = one.candidate.net.score_fr.bias.clone()
    one.optimizer.param_groups[0]["lr"] = 1e-3
    one.step(*one.example([8, 8]))
    assert not torch.equal(one.candidate.net.score_fr.bias, before)
    assert set(one.phases) == set(PHASES) and all(len(each) == 1 for each in one.phases.values())


def test_fixed_interpolation_is_not_trained():
    learning = [name for name, p in Textbook(8, 21, 4).named_parameters() if p.requires_grad]
    assert len(learning) == 2 * 18 and not any(name.startswith("up") for name in learning)


def test_flop_are_counted_from_shapes():
    """By hand: a lower bound from the first convolution; a step takes about three passes."""
    flop = textbook_flop("fcn32s", CHANNELS, (500, 500))
    first = 2 * 9 * 3 * 64 * 698**2
    assert first < flop < 400e9
    assert 350e9 < textbook_flop("fcn8s", 4096, (500, 500)) < 376e9  # 363e9 with crops
    training = textbook_flop("fcn32s", CHANNELS, (500, 500), training=True)
    assert 2.9 * flop < training < 3 * flop
