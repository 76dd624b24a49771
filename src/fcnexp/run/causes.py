"""Why two numbers differ: the differences of two certificates, each under its cause."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fcnexp.config.identity import counted
from fcnexp.run import certificate, data_record
from fcnexp.run.run_folder import differences


class Cause(NamedTuple):
    """One difference. kind: settings, seed, code, packages, hardware, data, weights, convention."""

    kind: str
    text: str


def causes(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    """Every difference of two certificates that can change a score; empty if there is none.

    A part that one of them lacks, None, is not compared.
    """
    compare = {
        "config": _settings,
        "code": _code,
        "packages": _packages,
        "machine": _machine,
        "data": _data,
        "weights": _weights,
        "outcome": _conventions,
    }
    return [
        cause
        for part, differences_of in compare.items()
        if first[part] is not None and second[part] is not None
        for cause in differences_of(first[part], second[part])
    ]


def not_compared(first: dict[str, Any], second: dict[str, Any]) -> tuple[str, ...]:
    """Names of the parts that one of the two, without a certificate, has not recorded."""
    whole = all("format" in each for each in (first, second))
    return () if whole else ("code", "packages", "data", "weights")


def causes_since(recorded: dict[str, Any], folder: Path, config: dict[str, Any]) -> list[Cause]:
    """What has changed since a run was certified, as far as it can be seen without computing.

    config: of its config.yaml now. The outcome's files are compared, too. Raises ConfigError.
    """
    now = dict(recorded)
    now["config"] = config
    now["code"] = certificate.code_now(config)
    now["packages"] = certificate.packages_now(recorded["packages"])
    now["machine"] = recorded["machine"] | certificate.machine_now()
    now["weights"] = certificate.weights_now(config)
    if recorded["data"] is not None:
        roots = data_record.roots_of(config)
        files = dict.fromkeys(certificate.files(recorded["data"]))
        lists = recorded["data"]["lists"]
        now["data"] = certificate.data_now(data_record.Record(roots, lists, files), roots)
    outcome = certificate.outcome_now(folder)
    names = {"checkpoint": "checkpoints/last.ckpt", "confusion": "confusion.csv"}
    changed = [
        Cause("outcome", f"{names[key]}: {'gone' if value is None else 'other content'}")
        for key, value in outcome.items()
        if value != recorded["outcome"].get(key)
    ]
    return [*causes(recorded, now), *changed]


def _settings(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    """Settings that count, the seed by itself. Data roots are compared by what they hold."""
    found = []
    for name, was, now in differences(counted(first), counted(second)):
        if name in {f"data.{root}" for root in data_record.ROOTS}:
            continue
        found.append(Cause("seed" if name == "seed" else "settings", f"{name}: {was} -> {now}"))
    return found


def _code(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    found = []
    if first["files"] != second["files"]:
        found.append(Cause("code", f"fcnexp: {_revision(first)} -> {_revision(second)}"))
    own = first["own"], second["own"]
    found += [
        Cause("code", f"{name}: other content")
        for name in own[0] | own[1]
        if own[0].get(name) != own[1].get(name)
    ]
    return found


def _revision(code: dict[str, Any]) -> str:
    """Version, commit and, with local changes, the digest of the modules."""
    parts = [str(code["version"]), *([str(code["commit"])[:10]] if code["commit"] else [])]
    if code["changed"] or not code["commit"]:
        parts.append(f"modules {str(code['files'])[:10]}")
    return " ".join(parts)


def _packages(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    """Packages whose versions differ; one that a run has not imported cannot have changed it."""
    return [
        Cause("packages", f"{name} {was} -> {second[name] or 'not installed'}")
        for name, was in first.items()
        if name in second and second[name] != was
    ]


def _machine(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    return [
        Cause("packages" if key in ("python", "torch") else "hardware", f"{key}: {was} -> {now}")
        for key, was in first.items()
        if key in second and (now := second[key]) != was
    ]


def _data(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    """Lists, classes and files whose content differs."""
    lists = data_record.list_changes(first["lists"], second["lists"])
    before, after = certificate.files(first), certificate.files(second)
    content = [name for name, was in before.items() if name in after and after[name] != was]
    gone = [name for name in content if after[name] is None]
    content = [name for name in content if after[name] is not None]
    alone = [name for name in [*before, *after] if (name in before) != (name in after)]
    found = [*lists]
    for names, what in (
        (content, "other content"),
        (gone, "gone"),
        (alone, "read by one of them only"),
    ):
        if names:
            found.append(f"{_named(names)}: {what}")
    return [Cause("data", text) for text in found]


def _named(names: Sequence[str]) -> str:
    return data_record.names([name.removeprefix("root/") for name in names])


def _weights(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    found = []
    for key in first | second:
        was, now = first.get(key), second.get(key)
        if key in first and key in second and was != now:
            found.append(Cause("weights", f"{key}: {'gone' if now is None else 'other content'}"))
    return found


def _conventions(first: dict[str, Any], second: dict[str, Any]) -> list[Cause]:
    return [
        Cause("convention", f"{key}: {first.get(key)} -> {second.get(key)}")
        for key in ("convention", "masked")
        if first.get(key) != second.get(key)
    ]
