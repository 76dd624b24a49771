"""The dashboard shows what runs log, and needs an account only for publishing."""

import importlib.util
import json
import re

import pytest
import wandb
from commands import fcnexp
from wandb_server import Server

from fcnexp.data.generated.shapes import CLASS_NAMES
from fcnexp.tracking.dashboard import sections

PANELS = [panel for panels in sections(CLASS_NAMES).values() for panel in panels]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_no_panel_is_empty(panel, run):
    logged = run.keys
    if panel.kind == "rates":
        assert [key for key in logged if re.search(panel.keys[0], key)]
    elif panel.kind == "bars":  # only classes that occur in this small run
        assert {key for key in logged if key.startswith("iou/")} <= set(panel.keys)
        assert logged & set(panel.keys)
    else:
        assert set(panel.keys) <= logged
    kinds = {"images": ("images/separated", "image-file"), "table": ("table-file",)}
    for key in panel.keys if panel.kind in kinds else ():
        assert run.summary[key]["_type"] in kinds[panel.kind]


def test_every_logged_key_is_shown(run):
    """Except the step counter."""
    drawn = {key for panel in PANELS for key in panel.keys}
    left = {key for key in run.keys - drawn if not key.startswith("lr/")}
    assert left == {"trainer/global_step"}


@pytest.mark.filterwarnings("ignore:Pydantic V1 style")
def test_preview_prints_and_writes_the_dashboard(tmp_path):
    command = ["preview", "project=mine", "hydra.run.dir=out"]
    done = fcnexp("dashboard", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Curves: mean IU (lines): val/miou\n" in done.stdout
    assert all(f"iou/{name}" in done.stdout for name in CLASS_NAMES)
    sent = json.loads((tmp_path / "out/dashboard.json").read_text())
    names = [each["name"] for each in found(sent, "sections")[0]]
    assert names == list(sections(CLASS_NAMES)) and sent["project"] == "mine"
    text = json.dumps(sent)
    assert all(f'"{key}"' in text for panel in PANELS for key in panel.keys)
    grouping = [each["name"] for each in found(sent, "grouping")[0]]
    assert grouping == ["group"]


def found(node, name: str) -> list:
    if isinstance(node, list):
        return [each for value in node for each in found(value, name)]
    if not isinstance(node, dict):
        return []
    here = [node[name]] if node.get(name) else []
    return here + [each for value in node.values() for each in found(value, name)]


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    wandb.teardown()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    yield monkeypatch
    wandb.teardown()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["publish"], "entity: required to publish; add entity=NAME, the W&B team or user"),
        (
            ["publish", "entity=me"],
            "publish: no API key found; run `wandb login` once, or set WANDB_",
        ),
        (["publsh"], "publsh: the first argument must be preview or publish"),
        (["task=show"], "task=show: choose one of preview, publish"),
    ],
)
def test_mistake_gives_one_line(typed, message, no_account, tmp_path):
    done = fcnexp("dashboard", *typed, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_server_error_gives_one_line(no_account, tmp_path):
    server = Server("401")
    no_account.setenv("WANDB_API_KEY", "k" * 40)
    no_account.setenv("WANDB_BASE_URL", server.url)
    done = fcnexp("dashboard", "publish", "entity=me", folder=tmp_path, cache=tmp_path)
    server.close()
    assert (
        done.returncode == 1 and "error: publish: cannot send the dashboard to W&B (" in done.stderr
    )
    assert "that me/fcnexp is your project and has runs" in done.stderr and server.asked


def test_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = fcnexp("dashboard", "preview", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: dashboard: wandb-workspaces is not installed; try pip install -e '.[dashboard]'\n"
    )
