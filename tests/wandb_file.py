"""Read a .wandb file without W&B's own tools: LevelDB log blocks of protobuf Records."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = 32768
FULL, FIRST, LAST = 1, 2, 4  # fragment types


class WandbFile(NamedTuple):
    """Contents of a .wandb file. run: protobuf of the run's start. config, summary: plain values.

    history: logged lines. exit_code: None if the run never ended. media: folder of its files.
    """

    run: Any
    history: list[dict[str, Any]]
    config: dict[str, Any]
    summary: dict[str, Any]
    exit_code: int | None
    media: Path

    @property
    def keys(self) -> set[str]:
        """Logged keys, without W&B's own."""
        found = {key for line in self.history for key in line}
        return {key for key in found if not key.startswith("_")}

    def table(self, key: str) -> dict[str, Any]:
        """Columns and data of a logged table."""
        (logged,) = [line[key] for line in self.history if key in line]
        return json.loads((self.media / logged["path"]).read_text())


def runs_below(folder: Path) -> list[WandbFile]:
    """Read the runs stored below a folder, in order of their start.

    Waits for W&B's background process, which writes the end of a run after `finish`.
    """
    import wandb

    wandb.teardown()
    return [read(path) for path in sorted(folder.rglob("offline-run-*/*.wandb"))]


def read(path: Path) -> WandbFile:
    """Read one .wandb file."""
    run, history, config, summary, exit_code = None, [], {}, {}, None
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            put(config, run.config.update)
        elif kind == "config":
            put(config, record.config.update)
        elif kind == "history":
            put(line := {}, record.history.item)
            history.append(line)
        elif kind == "summary":
            put(summary, record.summary.update)
        elif kind == "exit":
            exit_code = record.exit.exit_code
    return WandbFile(run, history, config, summary, exit_code, path.parent / "files")


def records(path: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    with path.open("rb") as file:
        place, whole = len(file.read(7)), b""  # :W&B and a version
        while True:
            if (left := BLOCK - place % BLOCK) < 7:
                place += len(file.read(left))
            head = file.read(7)
            if len(head) < 7:
                return
            _, size, kind = struct.unpack("<IHB", head)
            data = file.read(size)
            place += 7 + size
            whole = data if kind in (FULL, FIRST) else whole + data
            if kind in (FULL, LAST):
                record = wandb_internal_pb2.Record()
                record.ParseFromString(whole)
                yield record


def put(values: dict[str, Any], items: Any) -> None:
    """Set values by key; nested keys become nested dictionaries."""
    for item in items:
        *nodes, last = list(item.nested_key) or [item.key]
        node = values
        for name in nodes:
            node = node.setdefault(name, {})
        node[last] = json.loads(item.value_json)
