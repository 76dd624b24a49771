"""Keep the records of finished runs in docs/runs/, so that anybody can compare theirs; not a test.

python tests/keep_runs.py FOLDER NAME

FOLDER: of a run or of a sweep. Each of its finished runs becomes a folder docs/runs/NAME/RUN with
its config, its scores and the counts of each image, but no picture, no weights, and no name of a
folder of this machine: files are named from the data folder, FCNEXP_DATA.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from fcnexp.reporting.records import CONFIG, CONFUSION, RESULT, read_runs
from fcnexp.scoring.per_image import IMAGES

HOME = Path(__file__).parents[1] / "docs" / "runs"


def main(folder: str, name: str) -> None:
    """Copy the records of all finished runs below a folder, and print where they are."""
    data = os.environ.get("FCNEXP_DATA", "data")
    for run in read_runs([Path(folder)]).finished:
        home = HOME / name / run.folder.name
        home.mkdir(parents=True, exist_ok=True)
        for file in (CONFUSION, IMAGES):
            shutil.copyfile(run.folder / file, home / file)
        config, result = (from_data(part, str(Path(data).resolve())) for part in run[1:])
        (home / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False))
        (home / RESULT).write_text(json.dumps(result, indent=2) + "\n")
        print(home.relative_to(HOME.parents[1]))


def from_data(node: Any, data: str) -> Any:
    """Return a config whose file names below the data folder begin with `data/`."""
    if isinstance(node, dict):
        return {key: from_data(value, data) for key, value in node.items()}
    if isinstance(node, list):
        return [from_data(value, data) for value in node]
    if isinstance(node, str) and node.startswith(f"{data}/"):
        return f"data/{node.removeprefix(f'{data}/')}"
    return node


if __name__ == "__main__":
    main(*sys.argv[1:])
