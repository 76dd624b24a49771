"""A model card: what a shared net is, how good it is, and how to use it, as Markdown."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from fcnexp.errors import DataError
from fcnexp.reporting.records import percent, read_result
from fcnexp.reporting.tables import NAMES
from fcnexp.reporting.writing import table
from fcnexp.system.atomic import write_atomically

USE = {  # by the ending of the file
    ".safetensors": """import fcnexp

net = fcnexp.load("{name}")
labels = net.label(image)  # image: uint8 RGB (H, W, 3); labels: (H, W)""",
    ".pt": """import torch

stored = torch.load("{name}", weights_only=True)  # stored["state_dict"], class names, recipe""",
    ".pt2": """import torch

net = torch.export.load("{name}").module(check_guards=False)""",
    ".onnx": """import onnxruntime

session = onnxruntime.InferenceSession("{name}")""",
}


def write_card(
    card: Path, net: Path, checkpoint: Path, facts: Mapping[str, Any], licence: str | None
) -> None:
    """Write the card of an exported net.

    checkpoint: in the folder of its run, whose record has the scores; without it the card says that
    none are known. facts: of the exported file. licence: of the weights.
    """
    record: dict[str, Any] = {}
    with suppress(FileNotFoundError, DataError):
        record = read_result(checkpoint.resolve().parents[1])
    write_atomically(card, text_of(net, facts, record, licence))


def text_of(
    net: Path, facts: Mapping[str, Any], record: Mapping[str, Any], licence: str | None
) -> str:
    """Return the card as Markdown. record: content of result.json; may be empty."""
    choices = record.get("choices", {})
    model = choices.get("model", facts["model"])
    backbone = choices.get("backbone", facts["backbone"])
    name = model if backbone == "none" else f"{model}, {backbone}"
    head: dict[str, Any] = {"license": licence or "unknown", "library_name": "fcnexp"}
    head |= {"pipeline_tag": "image-segmentation", "tags": ["semantic-segmentation", "fcn"]}
    parts = [f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n# {name}"]
    data = choices.get("data")
    on = f" trained on `{data}`" if data else ""
    what = f"A network for semantic segmentation{on}, with {len(facts['class_names'])} classes"
    parts.append(f"{what}: {', '.join(facts['class_names'])}.")
    takes = "; ".join(f"`{key}`: {kind}" for key, kind in facts["takes"].items())
    parts.append(f"It takes {takes}, of any size, and preprocesses the image itself.")
    parts += ["## Scores", *_scores(record)]
    parts += ["## Use", f"```python\n{USE[net.suffix].format(name=net.name)}\n```"]
    if record:
        parts += ["## Training", table(_training(record))]
        if command := record.get("command"):
            parts.append(f"```\n{command}\n```")
    digest = facts["checkpoint"]["sha256"]
    parts += [
        "## Limits and licences",
        "The scores hold for images like those above. Of other images, and of groups of people or "
        "places that these lack, nothing is known.",
        f"Licence of the weights: {licence or 'not stated'}. They also follow from the training "
        "data and from the initial weights, whose licences apply: not stated here.",
        f"Exported by fcnexp {facts['fcnexp']} from a checkpoint with SHA-256 `{digest}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _scores(record: Mapping[str, Any]) -> list[str]:
    if not record:
        return ["Not known: the checkpoint was not in the folder of its run."]
    ranges = record.get("intervals", {}).get("scores", {})
    lines = [["score", "%", "95 % interval"]]
    for key, name in NAMES.items():
        if key in record["scores"]:
            interval = " to ".join(map(percent, ranges[key])) if key in ranges else ""
            lines.append([name, percent(record["scores"][key]), interval])
    classes = [["class", "IU (%)"]]
    classes += [[name, percent(value)] for name, value in record.get("class_iou", {}).items()]
    images = record.get("images")
    on = f"On {images} validation images; " if images else ""
    note = f"{on}intervals cover what other images would give. {record.get('convention', '')}"
    return [table(lines), note.strip() + ".", table(classes)]


def _training(record: Mapping[str, Any]) -> list[list[str]]:
    lines = [["setting", "value"]]
    lines += [[key, str(value)] for key, value in record.get("choices", {}).items()]
    for key in ("seed", "steps", "train_seconds", "precision", "device", "torch"):
        if record.get(key) is not None:
            lines.append([key, str(record[key])])
    return lines
