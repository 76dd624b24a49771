"""Whether what was read back of a run is a record as runs write them. Needs no torch."""

import json
import math
from pathlib import Path
from typing import Any

from fcnexp.errors import ConfigError
from fcnexp.papers.published import published

MOST_NODES = 100_000  # of a config; ours have some hundred. A few lines of YAML can name billions
STATES = ("running", "done", "failed", "stopped")  # of a job
NUMBERS = ("steps", "train_seconds", "images_per_second", "ms_per_image", "peak_memory", "images")


def read_json(path: Path) -> dict[str, Any]:
    """An object of finite numbers. Raises ValueError where the file is none, OSError."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(read, dict):
        raise ValueError("no object")
    return read


def is_result(result: dict[str, Any]) -> bool:
    """Whether it is what result.json holds of a run that has come to its end."""
    scores = result.get("scores")
    return (
        result.get("status") == "done"
        and isinstance(scores, dict)
        and "miou" in scores
        and all(_is_fractions(result.get(key, {})) for key in ("scores", "class_iou", "class_acc"))
        and all(_is_number(result.get(key)) for key in NUMBERS)
        and isinstance(result.get("choices", {}), dict)
        and all(isinstance(o, str | None) for o in result.get("choices", {}).values())
        and _is_words(result.get("typed", []))
    )


def is_job(note: dict[str, Any]) -> bool:
    """Whether it is what job.json holds, as far as reports read it."""
    error = note.get("error")
    return (
        note.get("state") in STATES
        and _is_words(note.get("overrides") or [])
        and (error is None or (isinstance(error, dict) and _is_words(error.values(), none=True)))
        and _is_number(note.get("seconds"))
    )


def trouble_of_config(config: Any) -> str:
    """What is wrong with a run's config; empty where nothing is."""
    if not isinstance(config, dict) or not isinstance(config.get("paper"), dict | None):
        return "damaged"
    try:
        _count(config, MOST_NODES)
        published(config.get("paper"))
    except (ValueError, RecursionError):
        return "damaged"
    except ConfigError as error:
        return str(error)
    return "" if isinstance(config.get("seed"), int | str | None) else "damaged"


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _is_fractions(values: Any) -> bool:
    return isinstance(values, dict) and all(
        v is None or (isinstance(v, int | float) and 0 <= v <= 1) for v in values.values()
    )


def _is_words(values: Any, *, none: bool = False) -> bool:
    if isinstance(values, str | dict) or not hasattr(values, "__iter__"):
        return False
    return all(isinstance(value, str) or (none and value is None) for value in values)


def _count(node: Any, left: int) -> int:
    """How many more nodes there may be. Raises ValueError on too many, or a key that is no text."""
    if left <= 0:
        raise ValueError("too many nodes")
    left -= 1
    if isinstance(node, dict) and not all(isinstance(key, str) for key in node):
        raise ValueError("a key that is no text")
    for inner in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        left = _count(inner, left)
    return left
