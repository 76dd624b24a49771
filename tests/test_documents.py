"""Commands of the README and docs/: each composes a valid config, and marked ones are run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from band_scenes import write_scenes
from documents import PAGES, ROOT, blocks, commands, write_files
from hydra.core.override_parser.overrides_parser import OverridesParser
from own_photographs import cats_and_dogs, write_own_data
from PIL import Image

from fcnexp.cli import entry
from fcnexp.config import schema
from fcnexp.config.checks import check_targets
from fcnexp.config.compose import compose_run, conf_dir
from fcnexp.config.values import to_plain, typed
from fcnexp.data.splits import Shapes
from fcnexp.system.bands_file import BandsFile, write_bands_file

SCHEMAS = {
    name.removesuffix("Config").lower(): each
    for name, each in vars(schema).items()
    if name.endswith("Config")
}
SCHEMAS["train"] = SCHEMAS.pop("run")
COMMANDS = [
    pytest.param(page, words, id=f"{page.stem}:{line}")
    for page in PAGES
    for line, words in commands(page)
]
RUN = [page for page in PAGES if any(block.mark == "run" for block in blocks(page))]
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@by_page
def test_every_block_has_a_mark(page):
    unmarked = [
        block.line
        for block in blocks(page)
        if block.mark is None and block.language in ("", "python")
    ]
    assert not unmarked, f"{page.name}: lines {unmarked}"


@by_page
def test_links_have_targets(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text().lower(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).replace(" ", "-") for h in headings}, target


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_command_composes(page, words, tmp_path, monkeypatch):
    name, *rest = words
    if name not in SCHEMAS:
        assert name in ("report", "sweep", "verify"), f"{name}: no such command"
        return
    write_files(page, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FCNEXP_DATA", str(tmp_path))
    if "modality=bands" in rest:
        monkeypatch.chdir(tmp_path)  # where it finds the description of its bands
        (tmp_path / "fields").mkdir()
        five = [1.0] * 5
        described = BandsFile(None, None, [3, 2, 1], five, five, images=1, files="", written=0)
        write_bands_file(tmp_path / "fields/bands.yaml", described)
    entry.offer_data_of_checkpoint([])
    if name == "evaluate" and any(word.startswith("run=") for word in rest):
        rest.append("checkpoint=none")  # run= scores a saved confusion matrix
    cfg = typed(compose_run(first_choices(rest, tmp_path), name), SCHEMAS[name])
    check_targets({key: value for key, value in to_plain(cfg).items() if key != "hydra"})


def first_choices(words: list[str], folder: Path) -> list[str]:
    """Return a command's overrides: first values of sweeps, and --config-dir as a search path."""
    overrides = []
    while words:
        word, *words = words
        if word == "--config-dir":
            places = [folder / words.pop(0), conf_dir().parent]
            searched = ",".join(f"file://{place}" for place in places)
            overrides.append(f"hydra.searchpath=[{searched}]")
        elif not word.startswith("-") and "=" in word:  # otherwise a task such as `check`
            parsed = OverridesParser.create().parse_override(word)
            if not parsed.is_sweep_override():
                overrides.append(word)
            elif parsed.is_discrete_sweep():
                overrides.append(
                    f"{parsed.get_key_element()}={next(parsed.sweep_string_iterator())}"
                )
    return overrides


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_page_runs_from_top_to_bottom(page, tmp_path):
    """Write the page's files, then run its commands in one shell; each must succeed."""
    if page.stem == "OWN_DATA":
        scenes = Shapes(str(tmp_path / "shapes"), num_train=20, num_val=1, side=(64, 96), seed=0)
        samples = scenes.train(("rgb",))
        named = ((s.name, s.fields["rgb"], s.label) for s in samples)
        write_own_data(tmp_path / "pets", named)
        write_scenes(tmp_path / "fields")
    run_page(page, tmp_path, OWN, f"{OWN} init=scratch regime.steps=2 regime.score_every=2")


OWN = "experiment=own_photos"  # downloads weights, which a test must not


@pytest.mark.slow
@pytest.mark.real_data
def test_twenty_photographs_of_three_classes_are_enough(shared_data, tmp_path):
    """Run OWN_DATA.md on cats and dogs of VOC, with weights from a local file."""
    voc = shared_data / "voc"
    write_scenes(tmp_path / "fields")
    write_own_data(tmp_path / "pets", cats_and_dogs(voc))
    weights = shared_data / "weights/bvlc_googlenet.caffemodel"
    page = ROOT / "docs/OWN_DATA.md"
    run_page(page, tmp_path, OWN, f"{OWN} init=caffemodel init.path={weights}")
    scores = json.loads((tmp_path / "outputs/pets/result.json").read_text())["class_iou"]
    assert list(scores) == ["background", "cat", "dog"] and min(scores.values()) > 0.3, scores
    first, second = tmp_path / "outputs/labels", tmp_path / "outputs/labels_onnx"
    for path in (tmp_path / "pets/images").iterdir():
        ours, theirs = (np.array(Image.open(f / f"{path.stem}.png")) for f in (first, second))
        assert (ours != theirs).mean() < 1e-3  # only where two classes almost tie


def run_page(page: Path, folder: Path, old: str, new: str) -> None:
    """Write a page's files and run its marked commands, with `old` replaced by `new`."""
    write_files(page, folder)
    marked = [block for block in blocks(page) if block.mark == "run" and not block.language]
    scripts = [block.text.replace(old, new) for block in marked]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src")}
    command = ["bash", "-c", "\n".join(["set -ex", *scripts])]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
