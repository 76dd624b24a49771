import os
import sys
from pathlib import Path

import pytest
import torch

os.environ["WANDB_MODE"] = "offline"
sys.path.insert(0, str(Path(__file__).parent))  # helpers that several test files share

from places import SHARED


@pytest.fixture
def shared_data() -> Path:
    """The real data beside the project, or a skip that says so."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real data in {folder}")
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
