"""Checkpoints' files, broken off anywhere."""

import os
import subprocess
from contextlib import suppress

import pytest
import torch

from fcnexp.system import checkpoint_store
from fcnexp.system.checkpoint_store import is_whole, store

CALLS = 12  # more than `store` has places to be broken off at


class PowerCutError(BaseException):
    pass


def write(number: int):
    return lambda file: torch.save({"number": torch.full((100,), number)}, file)


def number_of(path) -> int:
    return int(torch.load(path, weights_only=True)["number"][0])


def cut_at(monkeypatch, call: int) -> None:
    """The machine stops before the call-th thing that `store` has the system do."""
    left = [call]

    def counted(function):
        def run(*arguments, **named):
            if left[0] == 0:
                raise PowerCutError
            left[0] -= 1
            return function(*arguments, **named)

        return run

    for name in ("fsync", "replace"):
        monkeypatch.setattr(checkpoint_store.os, name, counted(getattr(os, name)))


@pytest.mark.parametrize("call", range(CALLS))
def test_broken_off_anywhere_one_whole_file_is_there(call, tmp_path, monkeypatch):
    last, before = tmp_path / "last.ckpt", tmp_path / "before.ckpt"
    for number in (1, 2):
        store(last, write(number), before.name)
    with monkeypatch.context() as patched:
        cut_at(patched, call)
        try:
            store(last, write(3), before.name)
            done = True
        except PowerCutError:
            done = False
    newest = last if last.exists() else before
    assert is_whole(newest) and number_of(newest) == (3 if done else number_of(newest))
    assert number_of(newest) >= 2
    for path in (last, before):
        assert not path.exists() or number_of(path) == 1 or is_whole(path)
    store(last, write(4), before.name)
    assert is_whole(last) and number_of(last) == 4 and is_whole(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "SHA256SUMS",
        "before.ckpt",
        "last.ckpt",
    ]


def test_every_place_of_that_test_is_met(tmp_path, monkeypatch):
    store(tmp_path / "last.ckpt", write(1), "before.ckpt")
    cut_at(monkeypatch, CALLS - 1)
    store(tmp_path / "last.ckpt", write(2), "before.ckpt")


@pytest.mark.parametrize("call", range(CALLS))
def test_file_that_keeps_none_before_it_is_whole_wherever_it_is_broken_off(
    call, tmp_path, monkeypatch
):
    best = tmp_path / "best.ckpt"
    store(best, write(1))
    with monkeypatch.context() as patched:
        cut_at(patched, call)
        with suppress(PowerCutError):
            store(best, write(2))
    assert is_whole(best) and number_of(best) in (1, 2)
    store(best, write(3))
    assert is_whole(best) and number_of(best) == 3
    assert (tmp_path / "SHA256SUMS").read_text().split()[1:] == ["best.ckpt"]


def test_write_that_fails_changes_nothing(tmp_path):
    store(tmp_path / "last.ckpt", write(1), "before.ckpt")
    was = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store(tmp_path / "last.ckpt", fail, "before.ckpt")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == was


@pytest.mark.parametrize("digests", [True, False])
def test_a_flipped_bit_is_seen(digests, tmp_path):
    path = tmp_path / "last.ckpt"
    store(path, write(1))
    if not digests:
        (tmp_path / "SHA256SUMS").unlink()
    assert is_whole(path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((100,), 1).numpy().tobytes()) + 123  # in the tensor
    content[place] ^= 1
    path.write_bytes(content)
    assert not is_whole(path)


def test_sha256sum_reads_the_digests(tmp_path):
    for number in (1, 2):
        store(tmp_path / "last.ckpt", write(number), "before.ckpt")
    told = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 0 and told.stdout.count(": OK") == 2
