"""Nondeterministic operations are named."""

import warnings

import torch

from fcnexp.run.determinism import deterministic


def nondeterministic() -> None:
    """Run one of the few operations that are nondeterministic even on a CPU."""
    torch.zeros(3).put_(torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))


def test_operation_is_named_once_and_other_warnings_stay(caplog):
    with warnings.catch_warnings(record=True) as others:
        warnings.simplefilter("always")
        with deterministic(True) as found:
            assert torch.are_deterministic_algorithms_enabled()
            nondeterministic()
            nondeterministic()
            warnings.warn("something else", stacklevel=1)
        assert found == ["put_"]
        assert [str(each.message) for each in others] == ["something else"]
    assert [r.getMessage() for r in caplog.records] == [
        "put_ is not deterministic here: numbers may differ"
    ]
    assert not torch.are_deterministic_algorithms_enabled()


def test_disabled_changes_nothing():
    with deterministic(False) as found:
        assert not torch.are_deterministic_algorithms_enabled()
        nondeterministic()
    assert found == []
