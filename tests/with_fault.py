"""A command on a machine that lacks something: `python with_fault.py FAULT=VALUE COMMAND ...`.

The machine is as ever for this program's own imports, but not for the command.
"""

import importlib
import os
import resource
import sys

LIMITS = {
    "open_files": resource.RLIMIT_NOFILE,
    "file_size": resource.RLIMIT_FSIZE,
    "memory": resource.RLIMIT_DATA,
}


def lack(what: str, value: int) -> None:
    """memory: bytes more than are in use. user: the id of one who owns nothing."""
    if what == "user":
        os.setgid(value)
        os.setuid(value)
        return
    if what == "memory":
        lines = open("/proc/self/status").read().splitlines()  # noqa: SIM115
        value += 1024 * int(next(line for line in lines if line.startswith("VmData")).split()[1])
    resource.setrlimit(LIMITS[what], (value, value))


if __name__ == "__main__":
    fault, command, *arguments = sys.argv[1:]
    program = importlib.import_module(f"fcnexp.{command}")
    import fcnexp.build  # noqa: F401  # torch, Lightning
    import fcnexp.trainers  # noqa: F401

    sys.argv = [f"{command}.py", *arguments]
    what, _, value = fault.partition("=")
    if what != "none":
        lack(what, int(value))
    program.main()
