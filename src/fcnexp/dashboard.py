"""W&B dashboard for runs: `python -m fcnexp.dashboard preview` or `publish entity=NAME`."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from fcnexp.errors import ConfigError, UserError
from fcnexp.system.atomic import write_atomically

if TYPE_CHECKING:
    from fcnexp.scoring.tasks import Task
    from fcnexp.tracking.dashboard import Drawn

TASKS = ("preview", "publish")
FILE = "dashboard.json"


def dashboard(cfg: DictConfig, folder: Path) -> None:
    """Preview or publish the dashboard. Raises UserError."""
    from fcnexp import build
    from fcnexp.config.checks import check_targets
    from fcnexp.config.schema import DashboardConfig
    from fcnexp.config.values import to_plain, typed
    from fcnexp.scoring.tasks import tasks_of
    from fcnexp.tracking.dashboard import as_json, sections, workspace

    cfg = typed(cfg, DashboardConfig)
    check_targets(to_plain(cfg))
    if cfg.task not in TASKS:
        raise ConfigError(f"task={cfg.task}: choose one of {', '.join(TASKS)}")
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise ConfigError(
            "dashboard: wandb-workspaces is not installed; try pip install -e '.[dashboard]'"
        )
    data = build.part(cfg, "data")
    first, *further = tasks_of(data.class_names, build.outputs_of(data))
    shown = first.classes, further
    if cfg.task == "publish":
        print(publish(cfg, *shown))
        return
    print_sections(sections(*shown), f"{cfg.entity or 'ENTITY'}/{cfg.project}")
    folder.mkdir(parents=True, exist_ok=True)
    text = as_json(workspace(cfg.entity or "ENTITY", cfg.project, *shown))
    write_atomically(folder / FILE, text + "\n")
    print(f"wrote {folder / FILE}, which is what publish sends")


def publish(cfg: DictConfig, class_names: Sequence[str], further: Sequence["Task"] = ()) -> str:
    """Save the dashboard as a view of a W&B project; return its URL. Raises UserError."""
    from fcnexp.tracking.dashboard import workspace
    from fcnexp.tracking.run import refuse_without_key

    if cfg.entity is None:
        raise ConfigError(
            "entity: required to publish; add entity=NAME, the W&B team or user of the project"
        )
    refuse_without_key("publish", "preview works without an account")
    try:
        return workspace(cfg.entity, cfg.project, class_names, further).save().url
    except Exception as error:  # wandb, its HTTP library and sockets all have their own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"publish: cannot send the dashboard to W&B ({reason}); check that the server is "
            f"reachable, and that {cfg.entity}/{cfg.project} is your project and has runs"
        ) from None


def print_sections(sections: Mapping[str, Sequence["Drawn"]], title: str) -> None:
    """Print sections and panels with the keys they show: a tree, or lines in a log."""
    from rich.console import Console
    from rich.tree import Tree

    console = Console(highlight=False, markup=False)
    tree = Tree(title)
    for name, panels in sections.items():
        branch = tree.add(name)
        for panel in panels:
            line = f"{panel.title} ({panel.kind}): {', '.join(panel.keys)}"
            branch.add(line)
            if not console.is_terminal:
                print(f"{name}: {line}")
    if console.is_terminal:
        console.print(tree)


def main() -> None:
    """Entry point; the first argument is `preview` or `publish`."""
    from fcnexp.cli import entry, messages

    if len(sys.argv) > 1 and sys.argv[1] in TASKS:
        sys.argv[1] = f"task={sys.argv[1]}"
    elif len(sys.argv) > 1 and sys.argv[1].isalpha():
        messages.fail(
            ConfigError(f"{sys.argv[1]}: the first argument must be {' or '.join(TASKS)}")
        )
    entry.run(dashboard, "dashboard")


if __name__ == "__main__":
    main()
