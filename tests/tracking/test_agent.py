"""W&B's own sweeps: what their agent would type is a command of ours."""

import pytest
import yaml
from commands import fcnexp
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from fcnexp.config.compose import conf_dir

FILES = sorted((conf_dir().parent / "sweeps/wandb").glob("*.yaml"))


def typed(sweep: dict, last: bool) -> list[str]:
    """The words that an agent runs, for the first or the last value of each parameter."""
    chosen = {}
    for name, choice in sweep["parameters"].items():
        values = choice.get("values") or [choice["min"], choice["max"]]
        chosen[name] = {"value": values[-1 if last else 0]}
    words = {"env": ["/usr/bin/env"], "interpreter": ["python"]}
    words |= create_sweep_command_args({"args": chosen})
    command = []
    for chunk in create_sweep_command(list(sweep["command"])):
        macro = chunk.startswith("${") and chunk.endswith("}")
        command += words[chunk[2:-1]] if macro else [chunk]
    return command


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_an_agent_types_is_fine(path, last, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    sweep = yaml.safe_load(path.read_text())
    command = typed(sweep, last)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "fcnexp.train"]
    done = fcnexp("train", *command[4:], "dry_run=true", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "config is fine" in done.stdout, done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sweep_seeks_what_runs_log(path, run):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["metric"] == {"name": "val/miou", "goal": "maximize"}
    assert sweep["metric"]["name"] in run.keys and sweep["name"] == path.stem
    assert path.read_text().startswith("# Question: ")


def test_there_are_some():
    assert FILES
