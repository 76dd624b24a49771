"""Published scores with their sources, and the published row that a run replays."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fcnexp.errors import ConfigError

SCORES = ("pixel_acc", "mean_acc", "miou", "fw_iou")
ABSENT = "classes absent from the ground truth"  # instead of the name of a class left out
STATUSES = ("verified", "recalled")
FILE = Path(__file__).with_name("published.yaml")


class NetFacts(NamedTuple):
    """Architecture facts of a net. Source: table 1 (CVPR 2015)."""

    conv_layers: int
    parameters: float  # millions
    field: int  # receptive field, pixels
    stride: int  # largest, pixels
    note: str = ""


GOOGLENET_FIELD = (
    "907 = 715 + 6 * 32: with the classifier's 7x7 average pooling, which sec. 4.1 discards"
)
TABLE1 = {
    "AlexNet": NetFacts(8, 57, 355, 32),
    "VGG16": NetFacts(16, 134, 404, 32),
    "GoogLeNet": NetFacts(22, 6, 907, 32, GOOGLENET_FIELD),
}

# Mean IU (%) of ground truth downsampled by a factor and upsampled again.
# Source: arXiv v2, appendix A.
UPPER_BOUNDS = {128: 50.9, 64: 73.3, 32: 86.1, 16: 92.8, 8: 96.4, 4: 98.5}


class Published(NamedTuple):
    """One published row.

    table: key in published.yaml, None for a custom row. scores: percent, by our names, as far as
    they were printed, those of a further task by `TASK_NAME`; empty for a row that the paper lacks,
    such as FCN-4s. status: `verified` in
    a copy of the source (`read_in`), or `recalled` from memory, with a `confidence`. data, split:
    data sets (class names of `_target_`) and split on which ours is comparable. classes: of the
    source's task, if the data set has several. without: class left out of the mean IU, or ABSENT.
    time: per image, as printed. also: other names of the row. task: that the scores are of, None
    for the first.
    """

    source: str
    row: str
    scores: dict[str, float]
    status: str
    table: str | None = None
    note: str = ""
    confidence: str = ""
    read_in: str = ""
    data: tuple[str, ...] = ()
    split: str | None = None
    classes: int | None = None
    without: str | None = None
    time: str = ""
    also: tuple[str, ...] = ()
    task: str | None = None

    def of_task(self, task: str) -> "Published":
        """The row with the scores of a further task, by the names of a first one's."""
        own = {key: self.scores.get(f"{task}_{key}") for key in SCORES}
        scores = {key: score for key, score in own.items() if score is not None}
        return self._replace(scores=scores, without=None, task=task)


def published(node: Mapping[str, Any] | None) -> Published | None:
    """Look up the row of a config's `paper` node; None if the node is None.

    node: `{table, row}` of published.yaml, ignoring the row's case and punctuation (fcn32s_fixed
    finds FCN-32s-fixed), or a custom row `{source, row, miou, ...}` in percent, with status
    verified by default. With `task`, the row's part on a further task. Raises ConfigError.
    """
    if node is None:
        return None
    if (task := node.get("task")) is not None:
        whole = published({key: value for key, value in node.items() if key != "task"})
        return whole and whole.of_task(str(task))
    if "table" not in node:
        return _custom(node)
    rows = published_table(str(node["table"]))
    wanted = _plain(str(node.get("row")))
    found = [row for name, row in rows.items() if wanted in map(_plain, (name, *row.also))]
    if not found:
        problem = f"not a row of {node['table']}; choose one of {', '.join(rows)}"
        raise ConfigError(f"paper.row={node.get('row')}: {problem}")
    if extra := [key for key in node if key not in ("table", "row")]:
        raise ConfigError(f"paper.{extra[0]}: remove it; paper.table already gives the scores")
    return found[0]


def published_table(table: str) -> dict[str, Published]:
    """All rows of a table of published.yaml by name, in printed order. Raises ConfigError."""
    tables = _tables()
    if table not in tables:
        raise ConfigError(f"paper.table={table}: choose one of {', '.join(tables)}")
    shared = dict(tables[table])
    rows = shared.pop("rows")
    return {name: _read(name, table=table, **(shared | row)) for name, row in rows.items()}


def comparable(row: Published, config: Mapping[str, Any]) -> bool:
    """True if a run's scores are comparable with the row's: same data set and scored images.

    A custom row is assumed to be on the run's own data.
    """
    if row.table is None:
        return True
    data = config.get("data") or {}
    kind = str(data.get("_target_", "")).rpartition(".")[2]
    same_task = row.classes in (None, data.get("classes"))
    return kind in row.data and row.split in (None, data.get("val_split")) and same_task


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def _custom(node: Mapping[str, Any]) -> Published:
    known = ("source", "row", "status", "note", *SCORES)
    for key, value in node.items():
        if key not in known:
            raise ConfigError(f"paper.{key}: no such key; choose one of table, {', '.join(known)}")
        if key in SCORES and not (isinstance(value, int | float) and 0 <= value <= 100):
            raise ConfigError(f"paper.{key}={value}: must be in percent, from 0 to 100")
    status = node.get("status", "verified")
    if status not in STATUSES:
        raise ConfigError(f"paper.status={status}: choose one of {', '.join(STATUSES)}")
    text = {"source": "published", "row": "published"} | {k: str(v) for k, v in node.items()}
    scores = {key: float(node[key]) for key in SCORES if key in node}
    return Published(text["source"], text["row"], scores, status, note=text.get("note", ""))


def _read(name: str, *, data: list[str], **facts: Any) -> Published:
    known = [key for key in facts if key.endswith(SCORES)]
    scores = {key: float(facts.pop(key)) for key in known}
    if facts["status"] == "verified":
        facts.pop("confidence", None)
    also = tuple(facts.pop("also", ()))
    return Published(row=name, scores=scores, data=tuple(data), also=also, **facts)
