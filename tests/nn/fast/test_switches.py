"""The key `plain` of train, evaluate and predict disables fast paths wherever a net runs."""

from collections import Counter
from pathlib import Path

import pytest
from commands import TINY, fcnexp
from PIL import Image

from fcnexp.nn.fast.switches import FAST_PATHS, enabled
from fcnexp.nn.fcn import FCN
from fcnexp.task.module import SegmentationTask

SHORT = ["regime.steps=1", "logger=csv"]
COMMANDS = {
    "train": [*TINY, *SHORT],
    "evaluate": ["checkpoint=made/checkpoints/last.ckpt", "workers=0", "pictures=1"],
    "predict": ["checkpoint=made/checkpoints/last.ckpt", "input=photo.png"],
}
ASKED = {"[]": set(), "all": set(FAST_PATHS), "[border,norm]": {"border", "norm"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with a short run in made/, and an image."""
    folder = tmp_path_factory.mktemp("plain")
    done = fcnexp("train", *TINY, *SHORT, "hydra.run.dir=made", folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    Image.new("RGB", (40, 30), (90, 60, 30)).save(folder / "photo.png")
    return folder


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("command", COMMANDS)
def test_disabled_fast_paths_are_disabled_wherever_the_net_runs(
    command, asked, folder, tmp_path, monkeypatch
):
    seen, forward = Counter(), FCN.forward

    def watching(self, *given, **named):
        seen[frozenset(path for path in FAST_PATHS if not enabled(path))] += 1
        return forward(self, *given, **named)

    monkeypatch.setattr(FCN, "forward", watching)
    given = [*COMMANDS[command], f"plain={asked}", f"hydra.run.dir={tmp_path}/out"]
    done = fcnexp(command, *given, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    assert set(seen) == {frozenset(ASKED[asked])} and seen.total() >= 1
    assert all(map(enabled, FAST_PATHS))  # restored afterwards


@pytest.mark.parametrize("asked", ["fft", "[border,fft]"])
@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_fast_path_is_refused_with_the_known_ones(command, asked, folder, tmp_path):
    given = [*COMMANDS[command], f"plain={asked}", f"hydra.run.dir={tmp_path}/out"]
    done = fcnexp(command, *given, folder=folder, cache=folder)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    given = asked.strip("[]")
    assert (
        f"plain={given}: no fast path is called fft; allowed are all, {', '.join(FAST_PATHS)}"
        in done.stderr
    )
    assert not (tmp_path / "out/result.json").exists()


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_final_pictures_reuse_the_stored_predictions(command, folder, tmp_path, monkeypatch):
    def refuse(self, *given):
        raise AssertionError("the prediction was kept")

    monkeypatch.setattr(SegmentationTask, "label_image", refuse)
    given = [*COMMANDS[command], "pictures=2", f"hydra.run.dir={tmp_path}/out"]
    done = fcnexp(command, *given, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out/pictures/panels").iterdir())) == 2
