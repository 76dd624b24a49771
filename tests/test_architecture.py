"""The walls of the design: who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "fcnexp"
FILES = sorted(PACKAGE.rglob("*.py"))
ENTRY_POINTS = (
    "train",
    "evaluate",
    "predict",
    "explain",
    "prepare",
    "bounds",
    "report",
    "cli",
    "dashboard",
    "export",
    "bench",
)


def imports(path: Path) -> set[str]:
    """Modules that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses(path: Path, *names: str) -> bool:
    return any(m == n or m.startswith(n + ".") for m in imports(path) for n in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_walls(path):
    place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    here = str(path.relative_to(PACKAGE).with_suffix(""))
    if place in ("data", "nn", "task"):
        others = [f"fcnexp.{layer}" for layer in ("data", "nn", "task") if layer != place]
        assert not uses(path, *others, "fcnexp.build", "fcnexp.config", "fcnexp.reporting")
    if uses(path, "hydra", "omegaconf"):
        assert place in (
            "config",
            "schema",
            "trust",
            "confidential",
            "restore",
            "build",
            "trainers",
            "ranks",
            "loggers",
            "runs",
            "staging",
            "missing_data",
            "sweep",
            *ENTRY_POINTS,
        )
        assert here not in ("sweep/ledger", "sweep/launches", "sweep/processes", "sweep/gpus")
    if place == "sweep":
        assert not uses(path, "torch", "fcnexp.build", "fcnexp.nn", "fcnexp.task", "fcnexp.data")
    if uses(path, "lightning"):
        assert here in (
            *("task/module", "task/callbacks", "task/cost", "task/saving", "task/stopping"),
            *("data/datamodule", "tracking/panels", "loggers", "trainers", "train", "evaluate"),
        )
    if uses(path, "hydra.utils.instantiate"):
        assert here == "build"
    if place == "tracking":
        assert not uses(path, "fcnexp.build", "fcnexp.nn", "fcnexp.data", "fcnexp.sweep")
    if place in ("data", "nn", "task", "reporting", "sweep"):
        assert not uses(path, "fcnexp.benching")
    if place == "reporting":
        assert not uses(path, "lightning", "fcnexp.nn", "fcnexp.build")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_readable_in_one_go(path):
    assert len(path.read_text().splitlines()) <= 300


def test_package_init_imports_nothing():
    for path in PACKAGE.rglob("__init__.py"):
        assert not imports(path)
