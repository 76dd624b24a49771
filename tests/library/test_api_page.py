"""docs/API.md: it lists every public name, and becomes a page with their docstrings."""

import importlib.util
import re
import subprocess
import sys

import pytest
from documents import ROOT

import fcnexp

NAMES = re.findall(r"^::: fcnexp\.(\w+)$", (ROOT / "docs/API.md").read_text(), re.MULTILINE)
NEEDED = ("mkdocs", "material", "mkdocstrings_handlers.python")


def missing() -> list[str]:
    def found(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            return False

    return [name for name in NEEDED if not found(name)]


def test_page_lists_every_public_name_once():
    assert sorted([*NAMES, "VOID", "__version__"]) == sorted(fcnexp.__all__)


def test_page_is_built_from_docstrings(tmp_path):
    if absent := missing():
        pytest.skip(f"needs {', '.join(absent)}: pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "site/API/index.html").read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page)).replace("&#39;", "'")
    for name in NAMES:
        docstring = getattr(fcnexp, name).__doc__
        sentence = re.sub(r"\s+", " ", docstring.strip().partition("\n\n")[0]).replace("`", "")
        assert sentence.replace(">", "&gt;").replace('"', "&quot;") in text.replace("`", ""), name
    for method in ("label_tasks", "score_each", "transfer_batch_to_device", "compute"):
        assert f">{method}<" in page or f"{method}(" in text, method
