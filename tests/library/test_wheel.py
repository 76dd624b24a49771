"""A notebook-like script outside the repository, run with the installed wheel."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from documents import ROOT

pytestmark = pytest.mark.slow

NOTEBOOK = """
# %% Where the library is
import sys
from pathlib import Path

import fcnexp

assert not any(name in sys.modules for name in ("torch", "numpy"))
print(Path(fcnexp.__file__).parent)

# %% A few steps of training, in a loop of one's own
import numpy as np
import torch

options = ["backbone=tiny", "model=fcn8s", "data.num_train=6", "data.num_val=3", "workers=0"]
options += ["data.side=[48,56]", "backbone.widths=[4,4,6,6,8,8]", "regime.batch_size=2"]
net, data = fcnexp.network(options).train(), fcnexp.data_module(options)
recipe = fcnexp.input_recipe(options)
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
loss_of = torch.nn.CrossEntropyLoss(ignore_index=fcnexp.VOID)
data.setup("fit")
losses = []
for _, batch in zip(range(30), data.train_dataloader()):
    loss = loss_of(net(recipe.apply(batch.fields, batch.sizes)), batch.label.long())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss))
print(np.mean(losses[-5:]) < np.mean(losses[:5]))

# %% Scores of every validation image, as a run of one's own
record = fcnexp.RunRecord(data.data.class_names)
with torch.no_grad():
    for batch in data.val_dataloader():
        guess = net.eval()(recipe.apply(batch.fields, batch.sizes)).argmax(1)
        record.add(batch.names[0], guess[0], batch.label[0])
record.write("runs/a", {"net": "tiny", "seed": 0})
fcnexp.write_report("runs")
print(sorted(path.name for path in Path("runs").glob("report.*")))
"""


def without_network(output: str) -> bool:
    words = ("Failed to fetch", "error sending request", "No solution found", "dns error")
    return any(word in output for word in words)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Folder into which the wheel of this checkout is installed, without its dependencies."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("needs uv, which make setup installs")
    place = tmp_path_factory.mktemp("wheel")
    ways = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    build = [uv, "build", "--wheel", "--python", sys.executable, "--out-dir", place, *ways, ROOT]
    done = subprocess.run(build, capture_output=True, text=True)
    if done.returncode and without_network(done.stderr):
        pytest.skip("needs hatchling, or a registry that has it, to build the wheel")
    assert done.returncode == 0, done.stderr
    (wheel,) = place.glob("*.whl")
    install = [uv, "pip", "install", "--no-deps", "--python", sys.executable]
    install += ["--target", place / "target", wheel]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place / "target"


def test_script_outside_the_repository_runs_with_the_wheel(installed, tmp_path):
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    done = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed), "FCNEXP_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(installed / "fcnexp")
    assert lines[1] == "True", "the loss did not fall"
    assert lines[-1] == "['report.csv', 'report.html', 'report.md']"


def test_wheel_has_options_sweeps_and_the_mark_of_types(installed):
    for name in ("py.typed", "conf/train.yaml", "sweeps/table2_skips.yaml"):
        assert (installed / "fcnexp" / name).is_file(), name
