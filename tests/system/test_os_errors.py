"""Exceptions of a machine that can do no more, in words; what is no fault of its own is none."""

import errno
import logging.config
import os
import pickle

import numpy as np
import pytest
import torch

from fcnexp.cli import messages
from fcnexp.system import os_errors
from fcnexp.system.os_errors import ANY, in_words, let_through

# As torch 2.11 to 2.15, h5py and the Linux kernel's words have them.
OF_LIBRARIES = {
    "DataLoader worker (pid 7) is killed by signal: Killed. ": "process 7, which read images, was",
    "DataLoader worker (pid(s) 7, 8) exited unexpectedly": "process 7, 8, which read images, is",
    "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
    "workers are out of shared memory. Please try to raise your shared memory limit.": "no shared",
    "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)": (
        "no shared memory ("
    ),
    "unable to mmap 8 bytes from file </torch_1_2_3>: Cannot allocate memory (12)": "no shared mem",
    "unable to open shared memory object </torch_1_2_3> in read-write mode: Too many open files "
    "(24)": "too many open files (this process may have",
    "Too many open files. Communication with the workers is no longer possible.": "too many open f",
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 400 bytes. Error code 12 (Cannot allocate memory)": (
        "memory has run out (it asked for 400 bytes); "
    ),
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has": (
        "the GPU's memory has run out (it asked for 2.00 GiB); "
    ),
    "CUDA error: out of memory": "the GPU's memory has run out; ",
    "std::bad_alloc": "memory has run out; ",
    "can't start new thread": "memory has run out; ",
    "[enforce fail at inline_container.cc:862] . PytorchStreamWriter failed writing file data/1: "
    "file write failed": "no space left on the disk (",
}


@pytest.mark.parametrize("text", OF_LIBRARIES, ids=lambda text: text[:40])
def test_words_of_libraries_are_known(text):
    assert OF_LIBRARIES[text] in in_words(RuntimeError(text), ANY)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "/x/a.png: no space left on the disk (/: "),
        (errno.EDQUOT, "/x/a.png: this user's share of the disk is used up"),
        (errno.EFBIG, "/x/a.png: larger than a file may be here"),
        (errno.EROFS, "/x/a.png: cannot be written or read, its disk is mounted read-only"),
        (errno.EACCES, "/x/a.png: cannot be written or read, this user may not"),
        (errno.EISDIR, "/x/a.png: cannot be written, a folder is in the way; choose another"),
        (errno.EIO, "/x/a.png: its disk fails"),
        (errno.EMFILE, "too many open files"),
        (errno.ENOMEM, "memory has run out"),
    ],
    ids=lambda value: errno.errorcode.get(value, ""),
)
def test_numbers_of_the_system_are_known_also_from_another_process(number, words):
    error = OSError(number, os.strerror(number), "/x/a.png")
    told = in_words(error, ANY)
    assert told.startswith(words)
    assert in_words(pickle.loads(pickle.dumps(error)), ANY) == told
    # As torch hands on what its processes raise.
    text = f"Caught {type(error).__name__} in DataLoader worker process 0.\nOriginal Traceback "
    assert in_words(type(error)(f"{text}(most recent call last):\n{error!s}"), ANY) == told


def test_of_two_files_the_one_that_is_written_is_named():
    error = OSError(errno.ENOSPC, "No space left on device", "/tmp/a", None, "/x/b")
    assert in_words(error, ANY).startswith("/x/b: no space")


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError("a bug"), ValueError("No space left on device"), KeyError("memory")),
        *(
            FileNotFoundError(errno.ENOENT, "No such file", "/x"),
            OSError("image file is truncated"),
        ),
        *(PermissionError(errno.EACCES, "of a socket, with no file"), EOFError("Ran out of input")),
    ],
    ids=repr,
)
def test_what_may_be_a_bug_stays_one(error):
    assert in_words(error, ANY) is None and messages.message_of(error, "train") is None
    let_through(error)


def test_real_want_of_memory_is_told_with_what_was_asked_for():
    for ask in (lambda: np.empty(2**58), lambda: torch.empty(2**58)):
        with pytest.raises((MemoryError, RuntimeError)) as raised:
            ask()
        assert "memory has run out (it asked for " in in_words(raised.value, ANY)


def test_fault_under_another_exception_is_found(tmp_path):
    (tmp_path / "file").touch()
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "file" / "log")}
    with pytest.raises(ValueError) as raised:
        logging.config.dictConfig({"version": 1, "handlers": {"file": handler}})
    assert "a file is in the way" in in_words(raised.value, ANY)


def test_every_entry_point_says_what_to_type(tmp_path):
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x")
    for name, command in os_errors.COMMANDS.items():
        told = messages.message_of(error, name, tmp_path)
        assert command.elsewhere in told and "; then run the same command again" in told
        assert command.less in messages.message_of(MemoryError(), name, tmp_path)
