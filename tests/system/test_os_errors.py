"""Messages for system errors; other exceptions have none."""

import errno
import logging.config
import os
import pickle
import re

import numpy as np
import pytest
import torch

from fcnexp.cli import messages
from fcnexp.system import os_errors
from fcnexp.system.os_errors import ANY, message_for, reraise_system_error

# Texts of torch 2.11 to 2.15, h5py and the Linux kernel.
OF_LIBRARIES = {
    "DataLoader worker (pid 7) is killed by signal: Killed. ": "data-loading worker 7 was ended",
    "DataLoader worker (pid(s) 7, 8) exited unexpectedly": "data-loading worker 7, 8 exited",
    "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
    "workers are out of shared memory. Please try to raise your shared memory limit.": "no shared",
    "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)": (
        "no shared memory ("
    ),
    "unable to mmap 8 bytes from file </torch_1_2_3>: Cannot allocate memory (12)": "no shared mem",
    "unable to open shared memory object </torch_1_2_3> in read-write mode: Too many open files "
    "(24)": "too many open files (the limit is",
    "Too many open files. Communication with the workers is no longer possible.": "too many open f",
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 400 bytes. Error code 12 (Cannot allocate memory)": (
        "out of memory (400 bytes requested); "
    ),
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has": (
        "out of GPU memory (2.00 GiB requested); "
    ),
    "CUDA error: out of memory": "out of GPU memory; ",
    "std::bad_alloc": "out of memory; ",
    "can't start new thread": "out of memory; ",
    "[enforce fail at inline_container.cc:862] . PytorchStreamWriter failed writing file data/1: "
    "file write failed": "no space left on the disk (",
}


@pytest.mark.parametrize("text", OF_LIBRARIES, ids=lambda text: text[:40])
def test_library_messages_are_recognised(text):
    assert OF_LIBRARIES[text] in message_for(RuntimeError(text), ANY)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "/x/a.png: no space left on the disk (/: "),
        (errno.EDQUOT, "/x/a.png: this user's disk quota is used up"),
        (errno.EFBIG, "/x/a.png: larger than the largest file allowed"),
        (errno.EROFS, "/x/a.png: cannot be read or written, its disk is mounted read-only"),
        (errno.EACCES, "/x/a.png: cannot be read or written, this user lacks permission"),
        (errno.EISDIR, "/x/a.png: cannot be written, a folder is in the way; choose another"),
        (errno.EIO, "/x/a.png: its disk has failed"),
        (errno.EMFILE, "too many open files"),
        (errno.ENOMEM, "out of memory"),
    ],
    ids=lambda value: errno.errorcode.get(value, ""),
)
def test_errno_is_recognised_also_from_another_process(number, words):
    error = OSError(number, os.strerror(number), "/x/a.png")
    message = message_for(error, ANY)
    assert message.startswith(words)
    assert message_for(pickle.loads(pickle.dumps(error)), ANY) == message
    # As torch reports exceptions of its worker processes.
    text = f"Caught {type(error).__name__} in DataLoader worker process 0.\nOriginal Traceback "
    assert message_for(type(error)(f"{text}(most recent call last):\n{error!s}"), ANY) == message


def test_of_two_files_the_one_written_is_named():
    error = OSError(errno.ENOSPC, "No space left on device", "/tmp/a", None, "/x/b")
    assert message_for(error, ANY).startswith("/x/b: no space")


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
def test_possible_bug_gets_no_message(error):
    assert message_for(error, ANY) is None and messages.message_of(error, "train") is None
    reraise_system_error(error)


def test_failed_allocation_is_reported_with_its_size():
    for ask in (lambda: np.empty(2**58), lambda: torch.empty(2**58)):
        with pytest.raises((MemoryError, RuntimeError)) as raised:
            ask()
        assert re.match(r"out of memory \([\d.]+ \w+ requested\)", message_for(raised.value, ANY))


def test_system_error_behind_another_exception_is_found(tmp_path):
    (tmp_path / "file").touch()
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "file" / "log")}
    with pytest.raises(ValueError) as raised:
        logging.config.dictConfig({"version": 1, "handlers": {"file": handler}})
    assert "a file is in the way" in message_for(raised.value, ANY)


def test_every_entry_point_says_what_to_type(tmp_path):
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x")
    for name, command in os_errors.COMMANDS.items():
        message = messages.message_of(error, name, tmp_path)
        assert command.elsewhere in message and "; then run the same command again" in message
        assert command.less in messages.message_of(MemoryError(), name, tmp_path)
