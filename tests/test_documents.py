"""Every command of the README and docs/: it can be composed, and what can be run here is run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import PAGES, ROOT, blocks, commands, write_files
from hydra.core.override_parser.overrides_parser import OverridesParser

from fcnexp import cli, paths, schema
from fcnexp.config import check_targets, compose_run, to_plain, typed

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
def test_every_block_is_run_or_says_what_it_needs(page):
    unmarked = [
        block.line
        for block in blocks(page)
        if block.mark is None and block.language in ("", "python")
    ]
    assert not unmarked, f"{page.name}: lines {unmarked}"


@by_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text().lower(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).replace(" ", "-") for h in headings}, target


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_command_can_be_composed(page, words, tmp_path, monkeypatch):
    name, *rest = words
    if name not in SCHEMAS:
        assert name in ("report", "sweep"), f"{name}: no such command"
        return
    write_files(page, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FCNEXP_DATA", str(tmp_path))
    cli.offer_data_of_checkpoint([])
    if name == "evaluate" and any(word.startswith("run=") for word in rest):
        rest.append("checkpoint=none")  # a finished run's matrix is scored in its place
    cfg = typed(compose_run(first_choices(rest, tmp_path), name), SCHEMAS[name])
    check_targets({key: value for key, value in to_plain(cfg).items() if key != "hydra"})


def first_choices(words: list[str], folder: Path) -> list[str]:
    """Overrides of a command, the first of several values, and a folder of configs as Hydra's."""
    overrides = []
    while words:
        word, *words = words
        if word == "--config-dir":
            places = [folder / words.pop(0), paths.conf_dir().parent]
            searched = ",".join(f"file://{place}" for place in places)
            overrides.append(f"hydra.searchpath=[{searched}]")
        elif not word.startswith("-") and word not in ("check", "hha", "publish", "preview"):
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
    """Its files written and its commands typed in one shell, each of which has to succeed."""
    write_files(page, tmp_path)
    script = "\n".join(["set -ex", *(b.text for b in blocks(page) if b.mark == "run")])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
