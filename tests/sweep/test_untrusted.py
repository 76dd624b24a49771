"""`resume` runs no foreign code from a sweep's folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcnexp.errors import DataError
from fcnexp.sweep import launches, untrusted

SOURCE = Path(untrusted.__file__).parents[2]
TRAP = "open('trap', 'w').close()\n"
CALLS_MKDIR = "# @package _global_\nhydra: {callbacks: {x: {_target_: os.mkdir, path: trap}}}\n"
MISTAKE = ["-m", "seed=0", "regime.stpes=3"]  # only the real package suggests the correction


def write_launch(sweep: Path, *words: str, cwd: Path | str) -> Path:
    file = sweep / "launches/x.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"argv": [*launches.TRAIN, *words], "cwd": str(cwd)}))
    return file


def resume(sweep: Path | str, *, folder: Path, ahead: str = "") -> subprocess.CompletedProcess:
    """Run `resume` in a new process. ahead: PYTHONPATH entries before this package."""
    return subprocess.run(
        [sys.executable, "-m", "fcnexp.sweep", "resume", str(sweep)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ahead}{SOURCE}"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def evil(tmp_path):
    """Create an attacker's folder with a package named fcnexp and configs that call a function.

    It lies in the user's folder `mine`.
    """
    folder = tmp_path / "mine/evil"
    (folder / "fcnexp").mkdir(parents=True)
    (folder / "fcnexp/__init__.py").write_text(TRAP)
    (folder / "fcnexp/train.py").write_text(TRAP)
    (folder / "conf/experiment").mkdir(parents=True)
    (folder / "conf/experiment/x.yaml").write_text(CALLS_MKDIR)
    return folder


def traps(folder: Path) -> list[Path]:
    return list(folder.rglob("trap"))


@pytest.mark.parametrize("ahead", ["", os.pathsep, "." + os.pathsep])
def test_code_in_the_folder_of_the_command_is_not_imported(evil, ahead):
    write_launch(evil / "out", *MISTAKE, cwd=evil)
    done = resume("evil/out", folder=evil.parent, ahead=ahead)
    assert not traps(evil.parent) and "did you mean regime.steps?" in done.stderr, done.stderr


ATTACKS = {
    "a callback": ["-m", "seed=0", "+hydra.callbacks.x={_target_:os.mkdir,path:trap}"],
    "searchpath": ["-m", "experiment=x", "hydra.searchpath=['file://EVIL/conf']"],
    "config-dir": ["--config-dir", "EVIL/conf", "-m", "experiment=x"],
    "config-dir=": ["--config-dir=EVIL/conf", "-m", "experiment=x"],
    "a file elsewhere": ["-m", "experiment=UP/EVIL/conf/experiment/x"],
}


@pytest.mark.parametrize("name", ATTACKS)
def test_command_with_foreign_code_is_printed_and_not_run(evil, name):
    up = "/".join([".."] * 20)
    words = [word.replace("EVIL", str(evil)).replace("UP/", up) for word in ATTACKS[name]]
    write_launch(evil / "out", *words, cwd=evil)
    done = resume("evil/out", folder=evil.parent)
    assert not traps(evil.parent) and done.returncode == 1
    assert done.stderr.startswith("error: evil/out/launches/x.json: ")
    assert "if you trust it, type it" in done.stderr and not done.stdout
    assert f"cd {evil} && python -P -m fcnexp.train {words[0]}" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["model._target_=os.system"],
        ["data={_target_:os.system}", "-m"],
        ["'+a.b=[{x:{_target_:os.system}}]'"],
        ["+a.b=${oc.decode:'{_tar'}"],
        ["+a.b=$${hydra.verbose}{oc.decode:x}"],
        ["+hydra={searchpath:[x]}"],
        ["+hydra.job.env_set.PYTHONPATH=evil"],
        ["hydra.job_logging.handlers.x={(): os.system}"],
        ["hydra.launcher.setup=[touch trap]"],
        ["hydra.launcher._target_=os.system"],
        ["hydra.sweeper.params={hydra.searchpath: x}"],
        ["hydra.sweeper.sampler._target_=os.system"],
        ["+hydra[searchpath]=[x]"],
        ["model=fcn8s,../../x"],
        ["+model@x=/x"],
        ["--config-path", "conf"],
        ["-cd", "gone"],
        ["--config-dir"],
        ["--config-di=x"],
        ["--config-name", "../x"],
        ["-cn=/x"],
        ["--experimental-rerun", "x.pickle"],
        ["--", "seed=0"],
        ["hydra.sweeper.sampler=cmaes"],  # it unpickles what the study's file holds
        ["hydra.sweeper.sampler={name: CMA_ES}"],
        ["hydra.sweeper.sampler.name=CmaEsSampler"],
        ["hydra.sweeper.storage=sqlite:////tmp/x.db"],
        ["hydra.sweeper.warm_start=[/]"],
        ["seed=0", "+note='a\nb'"],
    ],
    ids=" ".join,
)
def test_refused(words, tmp_path):
    with pytest.raises(DataError, match="x.json: .* without review"):
        untrusted.refuse(tmp_path / "s/launches/x.json", words, str(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    "word",
    [
        *("--multirun", "sweeps=table2_skips", "scale=small", "hydra/launcher=slurm", "+a.b=c"),
        *(
            "hydra.launcher.partition=gpu",
            "hydra.launcher.wait=false",
            "hydra.launcher.n_jobs=2",
            "hydra.sweep.dir=../a",
        ),
        *("hydra/sweeper=search", "hydra.sweeper.n_trials=20", "hydra.sweeper.sampler=grid"),
        *("hydra.sweeper.sampler={name:tpe,seed:1}", "hydra.sweeper.pruner.name=median"),
        *("regime.lr=tag(log,interval(1e-4,1e-2))", "model=choice(fcn16s,fcn8s)", "~recipe"),
        *("hydra.sweep.subdir='${hydra:job.num}'", 'data.root="~/VOC, 2"', "data.root=../VOC"),
        *("hydra.sweep.dir=out/${now:%Y-%m-%d_%H-%M-%S}", "data.root=${oc.env:VOC}", "seed=0,1"),
        *("backbone.widths=[4,4]", "seed=range(6)", "hydra.mode=MULTIRUN", "paper=null"),
        *("regime.x={a:1,b:[2]}", "head@_global_.head=linear", "hydra.launcher.gpus=[0,1]"),
    ],
)
def test_ordinary_overrides_are_accepted(word, tmp_path):
    untrusted.refuse(tmp_path / "s/launches/x.json", [word], str(tmp_path / "elsewhere"))


def test_message_contains_no_control_characters(tmp_path):
    with pytest.raises(DataError) as told:
        untrusted.refuse(tmp_path / "s/launches/x\x1b.json", ["seed=\x1b]0;\u202e"], "/\x1bc\n")
    assert all(line.isprintable() for line in str(told.value).split("\n"))
    assert r"'seed=\x1b]0;\u202e'" in str(told.value) and str(told.value).count("\n") == 1


@pytest.mark.parametrize("cwd", [3, None, ["x"]])
def test_damaged_file_gives_a_message(tmp_path, cwd):
    file = write_launch(tmp_path, cwd="")
    file.write_text(json.dumps({"argv": [*launches.TRAIN, "-m"], "cwd": cwd}))
    with pytest.raises(DataError, match="its argv must start with python -m fcnexp.train"):
        launches.commands(tmp_path)


def custom_parts(folder: Path) -> list[str]:
    """Create a config folder `my` that names a class in `part.py`; return the command's words."""
    (folder / "my/experiment").mkdir(parents=True)
    (folder / "part.py").write_text(f"{TRAP}import os\nos._exit(9)\n")
    own = "# @package _global_\nhydra: {callbacks: {x: {_target_: part.C}}}\n"
    (folder / "my/experiment/x.yaml").write_text(own)
    return ["--config-dir", "my", "experiment=x", "seed=0", "-m"]


def test_sweep_with_custom_parts_resumes_in_its_folder(tmp_path):
    write_launch(tmp_path / "out", *custom_parts(tmp_path), cwd=tmp_path)
    done = resume("out", folder=tmp_path)
    assert done.returncode == 9 and traps(tmp_path), done.stderr
    again = resume(tmp_path / "out", folder=tmp_path.parent)
    assert again.returncode == 1 and "--config-dir my: a config folder can name" in again.stderr


def test_folder_of_the_sweep_follows_the_last_override(tmp_path):
    folder = f'hydra.sweep.dir="{tmp_path}"'
    assert untrusted.kept_in(tmp_path, ["-m"]) == ["-m", folder]
    command = ["a=1", "b=2", "--config-dir", "my", "-m"]
    assert untrusted.kept_in(tmp_path, command) == [*command[:2], folder, *command[2:]]
    command = ["--config-dir", "my", "-m", "a=1"]
    assert untrusted.kept_in(tmp_path, command) == [*command, folder]


@pytest.mark.parametrize("cwd", [".", "gone", "{here}"])
def test_configs_that_came_with_the_sweep_are_refused(tmp_path, monkeypatch, cwd):
    words = ["--config-dir", "evil/my", *custom_parts(tmp_path / "evil")[2:]]
    write_launch(tmp_path / "evil/out", *words, cwd=cwd.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="--config-dir evil/my: a config folder can name"):
        launches.commands(Path("evil/out"))


def test_environment_of_a_resumed_sweep_excludes_foreign_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}src")
    absolute = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{tmp_path / 'src'}"}
    assert untrusted.code_of(str(tmp_path)) == absolute
    assert untrusted.code_of("/") == absolute | {"PYTHONSAFEPATH": "1"}
    monkeypatch.setattr(sys, "path", sys.path[1:])  # fcnexp-sweep, or python -P
    assert untrusted.code_of(str(tmp_path)) == absolute | {"PYTHONSAFEPATH": "1"}
