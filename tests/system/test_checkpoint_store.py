"""Checkpoint files, with writes interrupted at every point."""

import os
import subprocess
from contextlib import suppress

import pytest
import torch

from fcnexp.system import checkpoint_store
from fcnexp.system.checkpoint_store import is_intact, store

CALLS = 12  # more system calls than `store` makes


class PowerCutError(BaseException):
    pass


def write(number: int):
    return lambda file: torch.save({"number": torch.full((100,), number)}, file)


def number_of(path) -> int:
    return int(torch.load(path, weights_only=True)["number"][0])


def cut_at(monkeypatch, call: int) -> None:
    """Raise PowerCutError instead of the system call of `store` with this index."""
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
def test_interrupted_anywhere_one_intact_file_is_left(call, tmp_path, monkeypatch):
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
    assert is_intact(newest) and number_of(newest) == (3 if done else number_of(newest))
    assert number_of(newest) >= 2
    for path in (last, before):
        assert not path.exists() or number_of(path) == 1 or is_intact(path)
    store(last, write(4), before.name)
    assert is_intact(last) and number_of(last) == 4 and is_intact(before)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "SHA256SUMS",
        "before.ckpt",
        "last.ckpt",
    ]


def test_calls_cover_every_system_call(tmp_path, monkeypatch):
    store(tmp_path / "last.ckpt", write(1), "before.ckpt")
    cut_at(monkeypatch, CALLS - 1)
    store(tmp_path / "last.ckpt", write(2), "before.ckpt")


@pytest.mark.parametrize("call", range(CALLS))
def test_replaced_file_is_intact_after_any_interruption(call, tmp_path, monkeypatch):
    best = tmp_path / "best.ckpt"
    store(best, write(1))
    with monkeypatch.context() as patched:
        cut_at(patched, call)
        with suppress(PowerCutError):
            store(best, write(2))
    assert is_intact(best) and number_of(best) in (1, 2)
    store(best, write(3))
    assert is_intact(best) and number_of(best) == 3
    assert (tmp_path / "SHA256SUMS").read_text().split()[1:] == ["best.ckpt"]


def test_failed_write_changes_nothing(tmp_path):
    store(tmp_path / "last.ckpt", write(1), "before.ckpt")
    was = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store(tmp_path / "last.ckpt", fail, "before.ckpt")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == was


@pytest.mark.parametrize("digests", [True, False])
def test_flipped_bit_is_detected(digests, tmp_path):
    path = tmp_path / "last.ckpt"
    store(path, write(1))
    if not digests:
        (tmp_path / "SHA256SUMS").unlink()
    assert is_intact(path)
    content = bytearray(path.read_bytes())
    place = content.index(torch.full((100,), 1).numpy().tobytes()) + 123  # in the tensor
    content[place] ^= 1
    path.write_bytes(content)
    assert not is_intact(path)


def test_sha256sum_reads_the_digests(tmp_path):
    for number in (1, 2):
        store(tmp_path / "last.ckpt", write(number), "before.ckpt")
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.count(": OK") == 2
