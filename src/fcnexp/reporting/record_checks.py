"""Validate run records read from disk. Does not import torch."""

import json
import math
from pathlib import Path
from typing import Any

from fcnexp.errors import ConfigError
from fcnexp.papers.published import published
from fcnexp.scoring.tasks import is_name
from fcnexp.system.bounded import check_size

JOB_STATES = ("running", "done", "failed", "stopped")
NUMBERS = ("steps", "train_seconds", "images_per_second", "ms_per_image", "peak_memory", "images")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of finite numbers. Raises ValueError if it is not one, OSError."""
    if path.exists() and not path.is_file():  # a pipe would block, a device fill the memory
        raise ValueError("not a regular file")
    try:
        read = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(read, dict):
        raise ValueError("not an object")
    return read


def is_result(result: dict[str, Any]) -> bool:
    """True if this is a valid result.json of a finished run."""
    tasks = result.get("tasks", {})
    return (
        result.get("status") == "done"
        and _has_scores(result)
        and isinstance(tasks, dict)
        and all(is_name(name) and _has_scores(part) for name, part in tasks.items())
        and all(_is_number(result.get(key)) for key in NUMBERS)
        and isinstance(result.get("choices", {}), dict)
        and all(isinstance(o, str | None) for o in result.get("choices", {}).values())
        and _is_strings(result.get("typed", []))
    )


def _has_scores(part: Any) -> bool:
    """True if these are scores of one task."""
    scores = part.get("scores") if isinstance(part, dict) else None
    return (
        isinstance(scores, dict)
        and "miou" in scores
        and all(_is_fractions(part.get(key, {})) for key in ("scores", "class_iou", "class_acc"))
    )


def is_job(record: dict[str, Any]) -> bool:
    """True if the fields of job.json that reports read are valid."""
    error = record.get("error")
    return (
        record.get("state") in JOB_STATES
        and _is_strings(record.get("overrides") or [])
        and (error is None or (isinstance(error, dict) and _is_strings(error.values(), none=True)))
        and _is_number(record.get("seconds"))
    )


def config_problem(config: Any) -> str:
    """Describe what is wrong with a run's config; empty if it is valid."""
    if not isinstance(config, dict) or not isinstance(config.get("paper"), dict | None):
        return "damaged"
    try:
        check_size(config)
        _refuse_other_keys(config)
        published(config.get("paper"))
    except (ValueError, RecursionError):
        return "damaged"
    except ConfigError as error:
        return str(error)
    return "" if isinstance(config.get("seed"), int | str | None) else "damaged"


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not valid JSON")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _is_fractions(values: Any) -> bool:
    return isinstance(values, dict) and all(
        v is None or (isinstance(v, int | float) and 0 <= v <= 1) for v in values.values()
    )


def _is_strings(values: Any, *, none: bool = False) -> bool:
    if isinstance(values, str | dict) or not hasattr(values, "__iter__"):
        return False
    return all(isinstance(value, str) or (none and value is None) for value in values)


def _refuse_other_keys(node: Any) -> None:
    """Raise ValueError if a key is not text."""
    if isinstance(node, dict) and not all(isinstance(key, str) for key in node):
        raise ValueError("a key is not text")
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in inner:
        _refuse_other_keys(child)
