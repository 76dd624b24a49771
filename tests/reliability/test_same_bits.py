"""A training is determined by its settings and its seed."""

from collections.abc import Callable

import pytest
from commands import fcnexp
from kill_points import overrides
from kill_runs import differing, outcome_of

WORKERS = (0, 1, 2, 4)

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # intended: 4 workers


@pytest.fixture(scope="module")
def train(tmp_path_factory) -> Callable[..., dict]:
    """Return a function that trains with overrides and returns the outcome, by name."""
    cache = tmp_path_factory.mktemp("cache")

    def train(*more: str) -> dict:
        folder = tmp_path_factory.mktemp("run")
        done = fcnexp("train", *overrides("whole", 1), *more, folder=folder, cache=cache)
        assert done.returncode == 0, done.stderr
        return outcome_of(folder / "out")

    return train


@pytest.fixture(scope="module")
def outcome(train) -> dict:
    return train()


def test_same_seed_is_bit_identical_with_any_number_of_workers(train, outcome, tell):
    equal = [number for number in WORKERS if not differing(outcome, train(f"workers={number}"))]
    tell(f"same seed, {', '.join(map(str, WORKERS))} workers: {len(equal)} of {len(WORKERS)} equal")
    assert equal == list(WORKERS)


def test_different_seed_gives_different_weights(train, outcome):
    names = differing(outcome, train("seed=5"))
    assert any("momentum_buffer" in name for name in names)
    assert any(".ckpt.state_dict.net." in name for name in names)
