"""The walls of the design: who may import whom."""

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "fcnexp"
FILES = sorted(PACKAGE.rglob("*.py"))
GROUND_FLOOR = 16  # modules beside the packages: entry points, build, restore, errors, __init__
ENTRY_POINTS = (
    *("train", "evaluate", "predict", "explain", "prepare", "bounds", "report", "dashboard"),
    *("export", "bench", "verify"),
)
ALLOWED = {  # packages or modules, by what they may import; a package holds all of its modules
    "hydra": ("config", "cli", "build", "restore", "run", "sweep", "search", *ENTRY_POINTS),
    "lightning": (
        *("task/module", "task/callbacks", "task/cost", "task/saving", "task/stopping"),
        "task/averaging",
        *("data/datamodule", "tracking/panels", "run/loggers", "run/trainers"),
        *("train", "evaluate", "search/pruning"),
    ),
    "hydra.utils.instantiate": ("build",),
    "fcnexp.benching": ("bench", "benching"),
    "optuna": ("search",),
    "fcnexp.library": ("__init__", "library"),
}
ALLOWED["omegaconf"] = ALLOWED["hydra"]
for command in ENTRY_POINTS:  # nobody imports a command, except to measure it
    ALLOWED[f"fcnexp.{command}"] = ("benching",)
FORBIDDEN = {  # to packages or modules, what they may not import
    "data": ("fcnexp.nn", "fcnexp.task"),
    "nn": ("fcnexp.data", "fcnexp.task"),
    "task": ("fcnexp.data", "fcnexp.nn"),
    "reporting": ("lightning", "fcnexp.nn"),
    "tracking": ("fcnexp.nn", "fcnexp.data", "fcnexp.sweep"),
    "sweep": ("torch", "fcnexp.nn", "fcnexp.task", "fcnexp.data"),
    "system": ("torch", "fcnexp.run", "fcnexp.config"),
    "config": ("torch", "fcnexp.run", "fcnexp.data", "fcnexp.task", "fcnexp.reporting"),
}
for layer in ("data", "nn", "task"):
    FORBIDDEN[layer] += ("fcnexp.config", "fcnexp.reporting", "fcnexp.run")
for layer in FORBIDDEN:
    FORBIDDEN[layer] += ("fcnexp.build", "fcnexp.cli") * (layer != "sweep")
for module in ("ledger", "launches", "processes"):  # they work without Hydra
    FORBIDDEN[f"sweep/{module}"] = ("hydra", "omegaconf")


def name_of(path: Path) -> str:
    """The module in a file, as slashes have it: `nn/dense/tiling`."""
    return str(path.relative_to(PACKAGE).with_suffix(""))


def imports(path: Path) -> set[str]:
    """Modules that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_within(place: str, homes: Iterable[str]) -> bool:
    return any(place == home or place.startswith(f"{home}/") for home in homes)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_walls(path):
    def uses(name: str) -> bool:
        return any(module == name or module.startswith(f"{name}.") for module in imports(path))

    here = name_of(path)
    for name, homes in ALLOWED.items():
        assert not uses(name) or is_within(here, homes), f"{here} imports {name}"
    for home, names in FORBIDDEN.items():
        if is_within(here, [home]):
            assert not any(map(uses, names)), f"{here} imports one of {names}"


def graph() -> dict[str, set[str]]:
    """Modules of ours that each module imports."""
    known = {f"fcnexp.{name_of(path).replace('/', '.')}": path for path in FILES}
    found = {}
    for module, path in known.items():
        found[module] = {name for name in imports(path) if name in known and name != module}
    return found


def refuse_circles(edges: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_module_imports_itself_by_a_detour():
    refuse_circles(graph())


def test_no_package_imports_itself_by_a_detour():
    def package(module: str) -> str:
        return ".".join(module.split(".")[:2])

    edges: dict[str, set[str]] = {}
    for module, used in graph().items():
        others = {package(name) for name in used} - {package(module)}
        edges[package(module)] = edges.get(package(module), set()) | others
    refuse_circles(edges)


def test_ground_floor_is_small():
    assert len(list(PACKAGE.glob("*.py"))) <= GROUND_FLOOR


def test_every_package_says_what_it_holds_in_one_sentence():
    for path in PACKAGE.rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text and "\n" not in text, path


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_stay_readable_in_one_go(path):
    assert len(path.read_text().splitlines()) <= 300


def test_package_init_imports_nothing():
    """The library's own tells type checkers what it imports on first use."""
    for path in PACKAGE.rglob("__init__.py"):
        lazily = {"typing", "typing.TYPE_CHECKING", "importlib", "importlib.import_module"}
        found = {name for name in imports(path) if not name.startswith("fcnexp.")}
        assert (found == lazily) if path.parent == PACKAGE else not imports(path)
