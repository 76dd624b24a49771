"""Tab completion of the installed commands, by Hydra."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import activated

SHOWN = """
eval "$(fcnexp-train -sc install=bash)"
COMP_LINE='fcnexp-train backbone=r' COMP_WORDS=(fcnexp-train backbone=r) COMP_CWORD=1
hydra_bash_completion
echo "${COMPREPLY[@]}"
COMP_LINE='fcnexp-train sweeps=table2' COMP_WORDS=(fcnexp-train sweeps=table2)
hydra_bash_completion
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_options_are_completed_and_torch_is_not_imported(tmp_path: Path):
    (tmp_path / "torch.py").write_text("raise SystemExit('slow')")
    environment = os.environ | {"PATH": activated(), "PYTHONPATH": f"{tmp_path}"}
    environment["PYTHONPATH"] += f"{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        ["bash", "-c", SHOWN], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.stdout.splitlines() == ["backbone=resnet18", "sweeps=table2_skips"], done.stderr
