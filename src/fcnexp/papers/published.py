"""Published figures, each with its source, and a run's row among them."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from fcnexp.errors import ConfigError

SCORES = ("pixel_acc", "mean_acc", "miou", "fw_iou")
STATUSES = ("verified", "recalled")
FILE = Path(__file__).with_name("published.yaml")


class NetFacts(NamedTuple):
    """A row of table 1 (CVPR 2015): what the paper says of a net."""

    conv_layers: int
    parameters: float  # millions
    field: int  # receptive field, pixels
    stride: int  # greatest
    note: str = ""


TABLE1 = {
    "AlexNet": NetFacts(8, 57, 355, 32),
    "VGG16": NetFacts(16, 134, 404, 32),
    "GoogLeNet": NetFacts(
        22,
        6,
        907,
        32,
        "907 = 715 + 6 * 32: with the classifier's 7x7 average pooling, which sec. 4.1 discards",
    ),
}

# Mean IU (%) of truth shrunk by a factor and enlarged again. Source: arXiv v2, appendix A.
UPPER_BOUNDS = {128: 50.9, 64: 73.3, 32: 86.1, 16: 92.8, 8: 96.4, 4: 98.5}


class Published(NamedTuple):
    """One published row.

    table: its key in published.yaml, None if a config gives the figures itself. scores: percent, by
    our names, those that are printed; none in a row that the paper lacks, such as FCN-4s. status:
    `verified`, seen in a copy of the source (`read_in`), or `recalled`, from memory, with a
    `confidence`. data, split: on which data sets (last names of `_target_`) and which images of
    them ours may be set beside it. without: a class that its mean IU leaves out. time: of one
    image, as the source has it. also: other names of the row.
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
    without: str | None = None
    time: str = ""
    also: tuple[str, ...] = ()


def published(node: Mapping[str, Any] | None) -> Published | None:
    """The figures that a config's `paper` names, or gives; None without one.

    node: `{table, row}`, of published.yaml, whatever their case and punctuation (fcn32s_fixed is
    FCN-32s-fixed), or a row of your own, `{source, row, miou, ...}` in
    percent, verified unless it has another `status`. Raises ConfigError.
    """
    if node is None:
        return None
    if "table" not in node:
        return _own(node)
    rows = published_table(str(node["table"]))
    wanted = _plain(str(node.get("row")))
    found = [row for name, row in rows.items() if wanted in map(_plain, (name, *row.also))]
    if not found:
        raise ConfigError(f"paper.row={node.get('row')}: {node['table']} has {', '.join(rows)}")
    if extra := [key for key in node if key not in ("table", "row")]:
        raise ConfigError(f"paper.{extra[0]}: with paper.table the figures are those of the table")
    return found[0]


def published_table(table: str) -> dict[str, Published]:
    """All rows of a table of published.yaml, by name, in the source's order. Raises ConfigError."""
    tables = _tables()
    if table not in tables:
        raise ConfigError(f"paper.table={table}: there are {', '.join(tables)}")
    shared = dict(tables[table])
    rows = shared.pop("rows")
    return {name: _read(name, table=table, **(shared | row)) for name, row in rows.items()}


def comparable(row: Published, config: Mapping[str, Any]) -> bool:
    """Whether a run's scores may be set beside the row's: the same data, the same images scored.

    A row that a config gives itself is taken to be of its own data.
    """
    if row.table is None:
        return True
    data = config.get("data") or {}
    kind = str(data.get("_target_", "")).rpartition(".")[2]
    return kind in row.data and row.split in (None, data.get("val_split"))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def _own(node: Mapping[str, Any]) -> Published:
    known = ("source", "row", "status", "note", *SCORES)
    for key, value in node.items():
        if key not in known:
            raise ConfigError(f"paper.{key}: no such key; there are table, {', '.join(known)}")
        if key in SCORES and not (isinstance(value, int | float) and 0 <= value <= 100):
            raise ConfigError(f"paper.{key}={value}: in percent, from 0 to 100")
    status = node.get("status", "verified")
    if status not in STATUSES:
        raise ConfigError(f"paper.status={status}: allowed are {', '.join(STATUSES)}")
    words = {"source": "published", "row": "published"} | {k: str(v) for k, v in node.items()}
    scores = {key: float(node[key]) for key in SCORES if key in node}
    return Published(words["source"], words["row"], scores, status, note=words.get("note", ""))


def _read(name: str, *, data: list[str], **facts: Any) -> Published:
    scores = {key: float(facts.pop(key)) for key in SCORES if key in facts}
    if facts["status"] == "verified":
        facts.pop("confidence", None)
    also = tuple(facts.pop("also", ()))
    return Published(row=name, scores=scores, data=tuple(data), also=also, **facts)
