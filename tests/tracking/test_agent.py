"""W&B sweep files: the commands that a W&B agent builds from them are valid."""

import pytest
import yaml
from commands import fcnexp
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from fcnexp.config.compose import conf_dir

FILES = sorted((conf_dir().parent / "sweeps/wandb").glob("*.yaml"))


def command_of(sweep: dict, last: bool) -> list[str]:
    """The command that an agent runs, with the first or last value of each parameter."""
    chosen = {}
    for name, choice in sweep["parameters"].items():
        values = choice.get("values") or [choice["min"], choice["max"]]
        chosen[name] = {"value": values[-1 if last else 0]}
    macros = {"env": ["/usr/bin/env"], "interpreter": ["python"]}
    macros |= create_sweep_command_args({"args": chosen})
    command = []
    for chunk in create_sweep_command(list(sweep["command"])):
        is_macro = chunk.startswith("${") and chunk.endswith("}")
        command += macros[chunk[2:-1]] if is_macro else [chunk]
    return command


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_agent_command_is_valid(path, last, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    sweep = yaml.safe_load(path.read_text())
    command = command_of(sweep, last)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "fcnexp.train"]
    done = fcnexp("train", *command[4:], "dry_run=true", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "config is fine" in done.stdout, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sweep_optimises_a_logged_metric(path, run):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["metric"] == {"name": "val/miou", "goal": "maximize"}
    assert sweep["metric"]["name"] in run.keys and sweep["name"] == path.stem
    assert path.read_text().startswith("# Question: ")


def test_sweep_files_exist():
    assert FILES
