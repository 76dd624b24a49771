"""The records in docs/runs: complete, consistent, and without names of anybody's machine."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from fcnexp.reporting.records import CONFIG, RESULT, read_confusion, read_runs
from fcnexp.scoring.per_image import read_per_image
from fcnexp.task.four_scores import scores_of

HOME = Path(__file__).parents[1] / "docs" / "runs"
KEPT = sorted(path.parent for path in HOME.glob(f"**/{RESULT}"))
MEGABYTES = 8


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: str(path.relative_to(HOME)))
def test_scores_follow_from_the_counts_of_the_images(folder):
    (run,) = read_runs([folder]).finished
    matrix = read_per_image(folder).matrix()
    assert np.array_equal(matrix, np.array(read_confusion([folder]).counts))
    for name, score in scores_of(torch.from_numpy(matrix)).items():
        assert run.result["scores"][name] == pytest.approx(float(score), abs=1e-9)


@pytest.mark.parametrize("folder", KEPT, ids=lambda path: str(path.relative_to(HOME)))
def test_no_folder_of_a_machine_is_named(folder):
    for file in (CONFIG, RESULT):
        assert not re.search(r"""[\s"']/\w""", (folder / file).read_text())


def test_the_repository_stays_small():
    assert sum(path.stat().st_size for path in HOME.rglob("*")) < MEGABYTES * 2**20
