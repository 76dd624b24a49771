"""Certificate of a training: everything that its numbers depend on, and the numbers.

`certificate.json` lies beside `result.json`. `fcnexp.run.causes` compares two of them, and
`python -m fcnexp.verify` compares one with what is there now.
"""

import functools
import hashlib
import json
import platform
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fcnexp
from fcnexp.config.identity import digest
from fcnexp.errors import DataError
from fcnexp.reporting.records import CONFUSION, read_run
from fcnexp.run import data_record
from fcnexp.run.run_folder import stored_config
from fcnexp.system import this_process
from fcnexp.system.atomic import write_atomically
from fcnexp.system.checkpoint_store import LAST
from fcnexp.system.digests import digests_of

CERTIFICATE = "certificate.json"
FORMAT = 1
DIGITS = 16  # hexadecimal, of a file's digest: enough to tell files apart, not to trust strangers
PARTS = ("config", "code", "packages", "machine", "data", "weights", "outcome")
LIBRARIES = ("fcnexp", "torch", "torchvision", "lightning", "torchmetrics", "builtins")


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write the certificate of a finished training. Raises OSError.

    result: content of result.json. The config is that of config.yaml, so it holds no more secrets.
    """
    import torch

    config, record = stored_config(folder) or {}, data_record.read(folder)
    content = {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": result["command"],
        "config": config,
        "settings": digest(config),
        "code": code_now(config),
        "packages": dict(sorted(loaded_packages())),
        "machine": machine_now()
        | {"threads": torch.get_num_threads()}
        | {name: result[name] for name in ("device", "precision")},
        "data": record and data_now(record, record.roots | data_record.roots_of(config)),
        "weights": weights_now(config),
        "outcome": outcome_now(folder)
        | {name: result.get(name) for name in ("steps", "scores", "convention", "masked")},
    }
    write_atomically(folder / CERTIFICATE, json.dumps(content, indent=2) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """Return a run's certificate. Raises DataError if it has none, or it is damaged."""
    file = folder / CERTIFICATE
    try:
        content = json.loads(file.read_bytes())
        if not all(isinstance(content[part], dict) for part in PARTS if part != "data"):
            raise ValueError
        if content["data"] is not None:
            files(content["data"])
    except FileNotFoundError:
        raise DataError(
            f"{folder}: no {CERTIFICATE}; give the folder of a finished training (those of older "
            "versions, of evaluate and of copies without it have none)"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        raise DataError(f"{file}: damaged; without it, nothing can be compared") from None
    return dict(content)


def read_or_record(folder: Path) -> dict[str, Any]:
    """Return a run's certificate or, if it has none, what its record says; other parts are None.

    Raises DataError if the folder holds no finished run.
    """
    if (folder / CERTIFICATE).is_file():
        return read(folder)
    run = read_run(folder)
    machine = {key: run.result.get(key) for key in ("torch", "device", "precision")}
    kept = {key: run.result.get(key) for key in ("scores", "convention", "masked")}
    missing = dict.fromkeys(("code", "packages", "data", "weights"))
    return missing | {"config": run.config, "machine": machine, "outcome": kept}


def files(data: dict[str, Any]) -> dict[str, str | None]:
    """First digits of the digest of each file of a certificate's data, by `data_record`'s keys."""
    return data_record.unpacked(data["files"])


def code_now(config: dict[str, Any]) -> dict[str, Any]:
    """Version, digest of all modules, and git commit of this package, and digests of own parts.

    own: of the file of each module outside the package that a `_target_` names, by module.
    """
    home = Path(fcnexp.__file__).parent
    modules = sorted(home.rglob("*.py"))
    own = {name: file for name in _modules(config) if (file := _file_of(name))}
    found = digests_of([*modules, *own.values()])
    lines = "\n".join(f"{each.relative_to(home)} {found[str(each)]}" for each in modules)
    return {
        "version": fcnexp.__version__,
        "files": hashlib.sha256(lines.encode()).hexdigest(),
        "commit": _git(home, "rev-parse", "HEAD"),
        "changed": _changed(home),
        "own": {name: (found[file] or "")[:DIGITS] for name, file in own.items()},
    }


def loaded_packages() -> Iterator[tuple[str, str]]:
    """Yield name and version of each installed distribution that this process has imported."""
    owners = distributions_of_modules()
    names = {owner for module in list(sys.modules) for owner in owners.get(module, ())}
    for name in names - {"fcnexp"}:
        with suppress(PackageNotFoundError):
            yield name, version(name)


@functools.cache  # it reads a file of each installed distribution
def distributions_of_modules() -> Mapping[str, list[str]]:
    """Names of the installed distributions that hold each top-level module."""
    return packages_distributions()


def packages_now(names: Iterable[str]) -> dict[str, str | None]:
    """Installed version of each distribution, None if it is not installed."""
    found: dict[str, str | None] = dict.fromkeys(names)
    for name in found:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def machine_now() -> dict[str, Any]:
    """Python, torch, system and processor of this process."""
    import torch

    instructions = torch.backends.cpu.get_cpu_capability()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": f"{this_process.processor()}, {instructions}",
    }


def data_now(record: data_record.Record, roots: dict[str, str]) -> dict[str, Any]:
    """Lists of a record as they are now, and the packed digests of its files."""
    places = {key: data_record.place(key, roots) for key in record.files}
    found = digests_of(places.values())
    short = {key: (found[path] or "")[:DIGITS] or None for key, path in places.items()}
    return {
        "lists": data_record.lists_now(record.lists, roots),
        "files": data_record.packed(short),
    }


def weights_now(config: dict[str, Any]) -> dict[str, str | None]:
    """Digest of each file that `init` names, by its key; None if the file is gone."""
    init = config.get("init") or {}
    named = {f"init.{key}": Path(path).expanduser() for key, path in _paths(init)}
    known = dict[str, str | None]()
    if str(init.get("_target_")).endswith(".weights.hub.hub"):
        from fcnexp.nn.weights.hub import cached

        known["init.file"] = None
        if (path := cached(init["repo"], init["file"], init["revision"])) is not None:
            named["init.file"] = path
    found = digests_of(named.values())
    return known | {key: found[str(path)] for key, path in named.items()}


def outcome_now(folder: Path) -> dict[str, str | None]:
    """Digests of the last checkpoint and of the confusion matrix."""
    paths = {"checkpoint": folder / "checkpoints" / LAST, "confusion": folder / CONFUSION}
    found = digests_of(paths.values())
    return {name: found[str(path)] for name, path in paths.items()}


def _paths(node: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield key and value of the strings called `path` in a nested dict."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _paths(value, f"{before}{key}.")
        elif key == "path" and isinstance(value, str):
            yield f"{before}{key}", value


def _modules(node: Any) -> set[str]:
    """Modules outside the libraries that the `_target_`s of a config name."""
    if isinstance(node, list):
        return set().union(*map(_modules, node))
    if not isinstance(node, dict):
        return set()
    found = set().union(*(_modules(value) for value in node.values()))
    target = node.get("_target_")
    if isinstance(target, str) and target.partition(".")[0] not in LIBRARIES:
        found.add(target.rpartition(".")[0])
    return found


def _file_of(module: str) -> str | None:
    """File of an importable module."""
    with suppress(ImportError, ValueError, AttributeError):
        spec = find_spec(module)
        return None if spec is None else spec.origin
    return None


def _changed(home: Path) -> str | None:
    """Digest of all changes since the commit, untracked modules included; None without any."""
    status = _git(home, "status", "--porcelain", "--", ".")
    if not status:
        return None
    return hashlib.sha256(f"{status}{_git(home, 'diff', 'HEAD', '--', '.')}".encode()).hexdigest()


def _git(home: Path, *arguments: str) -> str | None:
    """Output of git in the package's own repository; None if it is in none, or git is missing."""
    for command in (["ls-files", "--error-unmatch", "__init__.py"], arguments):
        try:
            done = subprocess.run(
                ["git", "-C", str(home), *command], capture_output=True, text=True, timeout=60
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        if done.returncode:
            return None
    return done.stdout.strip()
