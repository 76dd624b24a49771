"""W&B workspace as code: the panels shown for a project's runs, by section."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from fcnexp.scoring.tasks import Task
from fcnexp.tracking.panels import KEY as PREDICTIONS
from fcnexp.tracking.run import STEP
from fcnexp.tracking.tables import CLASSES, CONFUSION, PAPER, PICTURE

RATES = "^lr/"  # one per parameter group; group names depend on the net
NAME = "fcnexp"


class Drawn(NamedTuple):
    """One panel. kind: lines, rates, bars, images or table. keys: logged keys, or RATES."""

    title: str
    kind: str
    keys: tuple[str, ...]


def sections(class_names: Sequence[str], further: Sequence[Task] = ()) -> dict[str, list[Drawn]]:
    """Panels by section, in order, those of further tasks last.

    class_names: of the data set's first task, for the bars. further: its other tasks.
    """
    found = _first(class_names)
    for task in further:
        curves = tuple(task.key(f"val/{name}") for name in ("miou", "pixel_acc"))
        drawn = [
            drawn._replace(keys=tuple(map(task.key, drawn.keys)))
            for drawn in _first(task.classes)["Classes"]
        ]
        found[f"Task {task.name}"] = [Drawn("mean IU, pixel accuracy", "lines", curves), *drawn]
    return found


def _first(class_names: Sequence[str]) -> dict[str, list[Drawn]]:
    """Panels of the first task, and of what all tasks share."""
    return {
        "Curves": [
            Drawn("mean IU", "lines", ("val/miou",)),
            Drawn("loss", "lines", ("train/loss",)),
            Drawn("other scores", "lines", ("val/pixel_acc", "val/mean_acc", "val/fw_iou")),
            Drawn("learning rates", "rates", (RATES,)),
        ],
        "Compared with the paper": [Drawn("our scores and the paper's (%)", "table", (PAPER,))],
        "Predictions": [Drawn("the same images at each validation", "images", (PREDICTIONS,))],
        "Classes": [
            Drawn("IU of each class", "bars", tuple(f"iou/{name}" for name in class_names)),
            Drawn("IU, accuracy, pixels", "table", (CLASSES,)),
            Drawn("confusion, fractions of each true class", "images", (PICTURE,)),
            Drawn("confusion, table of fractions", "table", (f"{CONFUSION}_table",)),
        ],
        "Cost": [
            Drawn("images per second", "lines", ("cost/images_per_second",)),
            Drawn("peak memory (bytes)", "lines", ("cost/peak_memory",)),
        ],
    }


def workspace(
    entity: str, project: str, class_names: Sequence[str], further: Sequence[Task] = ()
) -> Any:
    """A `wandb_workspaces` object with runs grouped by sweep. Needs the extra `dashboard`."""
    import wandb_workspaces.workspaces as ws

    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(name=name, panels=[_panel(one) for one in drawn], is_open=True)
            for name, drawn in sections(class_names, further).items()
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group")], pinned_columns=["summary:val/miou", "run:tags"]
        ),
    )


def as_json(view: Any) -> str:
    """The JSON that saving a workspace would send."""
    # There is no public way to get it without an account.
    return view._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=2)


def _panel(drawn: Drawn) -> Any:
    import wandb_workspaces.reports.v2 as wr

    keys: list[Any] = list(drawn.keys)
    if drawn.kind == "lines":
        return wr.LinePlot(title=drawn.title, x=STEP, y=keys)
    if drawn.kind == "rates":
        return wr.LinePlot(title=drawn.title, x=STEP, metric_regex=RATES)
    if drawn.kind == "bars":
        return wr.BarPlot(title=drawn.title, metrics=keys, max_bars_to_show=len(keys))
    if drawn.kind == "images":
        return wr.MediaBrowser(title=drawn.title, media_keys=keys, num_columns=2)
    return wr.WeavePanelSummaryTable(table_name=keys[0])
