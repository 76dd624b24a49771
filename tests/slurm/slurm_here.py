"""A complete local Slurm for tests: `python tests/slurm/slurm_here.py start DIR`, or stop.

Daemons run as the current user on free ports and write only to DIR. Accounting is on, since
without it submitit is not notified of cancelled jobs.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from getpass import getuser
from pathlib import Path

PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch")
INSTALL = "apt-get install --no-install-recommends slurm-wlm munge slurmdbd mariadb-server"
CPUS, MEMORY = os.cpu_count() or 1, 4000  # memory in MB; usage is not checked

SLURM_CONF = """
ClusterName=here
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmdPort={slurmd}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its old credential expires, by default two minutes.
AuthInfo=socket={folder}/munge.sock,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0
ReturnToService=2
SwitchType=switch/none
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={slurmdbd}
AccountingStoragePass={folder}/munge.sock
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=debug Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""
SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdPort={slurmdbd}
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mariadb}
StorageUser=root
StorageLoc=accounting
"""


def missing() -> str | None:
    """Name the missing programs and how to install them; None if all are installed."""
    absent = [name for name in PROGRAMS if program(name) is None]
    return f"no {', '.join(absent)}: {INSTALL}" if absent else None


def program(name: str) -> str | None:
    """Path of a program; daemons are outside an ordinary user's PATH."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def start(folder: Path) -> dict[str, str]:
    """Start Slurm in a new folder; return the environment for its commands.

    Raises RuntimeError if it does not start.
    """
    folder.mkdir(parents=True, mode=0o700)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    facts = {
        **free_ports("slurmctld", "slurmd", "slurmdbd", "mariadb"),
        **{"folder": folder, "user": getuser(), "host": socket.gethostname().split(".")[0]},
        **{"cpus": CPUS, "memory": MEMORY},
    }
    (folder / "slurm.conf").write_text(SLURM_CONF.format_map(facts))
    for name, text in (("slurmdbd.conf", SLURMDBD_CONF.format_map(facts)), ("munge.key", None)):
        (folder / name).touch(mode=0o600)  # they reject files that others can read
        (folder / name).write_bytes(text.encode() if text else secrets.token_bytes(128))
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    try:
        _start_daemons(folder, facts, env)
    except BaseException:
        stop(folder)
        raise
    return env


def _start_daemons(folder: Path, facts: dict, env: dict[str, str]) -> None:
    def daemon(name: str, *arguments: str, ready: Callable[[], bool]) -> None:
        with (folder / f"{name}.out").open("w") as out:
            command = [program(name) or name, *arguments]
            process = subprocess.Popen(
                command, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )
        with (folder / "pids").open("a") as pids:
            pids.write(f"{process.pid}\n")
        deadline = time.monotonic() + 60
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start; see {folder}/{name}.*")
            time.sleep(0.1)

    at = {name: str(folder / f"munge.{name}") for name in ("key", "sock", "pid", "log", "seed")}
    daemon(
        *("munged", "--foreground", "--force"),
        *(f"--socket={at['sock']}", f"--key-file={at['key']}", f"--pid-file={at['pid']}"),
        *(f"--log-file={at['log']}", f"--seed-file={at['seed']}"),
        ready=Path(at["sock"]).exists,
    )
    as_user = [f"--user={facts['user']}"]
    made = [program("mariadb-install-db") or "", "--no-defaults", f"--datadir={folder}/mariadb"]
    made += ["--auth-root-authentication-method=normal", "--skip-test-db", *as_user]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    daemon(
        *("mariadbd", "--no-defaults", f"--datadir={folder}/mariadb", *as_user),
        *(f"--socket={folder}/mariadb.sock", f"--port={facts['mariadb']}"),
        *("--bind-address=127.0.0.1", f"--pid-file={folder}/mariadb.pid"),
        ready=lambda: listens(facts["mariadb"]),
    )
    daemon("slurmdbd", "-D", ready=lambda: listens(facts["slurmdbd"]))
    says(env, "sacctmgr", "-i", "add", "cluster", "here")
    daemon("slurmctld", "-D", ready=lambda: listens(facts["slurmctld"]))
    daemon("slurmd", "-D", "-N", "localhost", ready=lambda: "idle" in says(env, "sinfo", "-h"))


def stop(folder: Path) -> None:
    """Cancel running jobs and stop the daemons in reverse order."""
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    says(env, "scancel", "--signal=KILL", "--full", f"--user={getuser()}")
    for pid in reversed(pids):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if _ended(pid):
                break


def _ended(pid: int) -> bool:
    """Return True if a process ends within ten seconds; reaps it if it is a child."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def says(env: dict[str, str], *command: str) -> str:
    """Output of a Slurm command."""
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60).stdout


def listens(port: int) -> bool:
    """Return True if a local port accepts connections."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def free_ports(*names: str) -> dict[str, int]:
    """Unused port for each name."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit("usage: python tests/slurm/slurm_here.py start|stop DIR")
    where = Path(sys.argv[2]).resolve()
    if sys.argv[1] == "start":
        start(where)
        print(f"export SLURM_CONF={where}/slurm.conf")
    else:
        stop(where)
