"""`python -m fcnexp` lists every command; the citation file names this version."""

import tomllib
from pathlib import Path

import pytest
import yaml
from commands import fcnexp

import fcnexp as package

ROOT = Path(__file__).parents[2]


def run(folder: Path, *arguments: str):
    return fcnexp("__main__", *arguments, folder=folder, cache=folder)


def test_every_installed_command_is_listed_with_its_purpose(tmp_path):
    done = run(tmp_path)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    listed = [line.split()[0] for line in done.stdout.splitlines() if line and "-m" in line]
    assert {f"fcnexp-{name}" for name in listed} == {*scripts} - {"fcnexp"}
    assert "train      Train a net and score it" in done.stdout
    for line in done.stdout.splitlines()[: len(listed)]:
        assert f"python -m fcnexp.{line.split()[0]}" in line and "`" not in line


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("train", "each command is a module: type python -m fcnexp.train"),
        ("trian", "trian: no such command; choose one of train, evaluate"),
    ],
)
def test_a_command_after_the_package_gives_one_line(tmp_path, given, expected):
    done = run(tmp_path, given, "model=fcn8s")
    assert done.returncode == 1 and expected in done.stderr and done.stderr.count("\n") == 1


def test_version_is_the_same_everywhere(tmp_path):
    assert run(tmp_path, "--version").stdout == f"fcnexp {package.__version__}\n"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == package.__version__
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["version"] == package.__version__
