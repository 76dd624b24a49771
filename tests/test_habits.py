"""docs/COMING_FROM.md, the table for lightning-hydra-template: both columns, as typed.

What is "the same" passes all checks; anything else is refused with a message that names the key
of the other column, and that column passes all checks.
"""

import re
import shlex

import pytest
from commands import TINY, fcnexp
from documents import ROOT
from test_documents import first_choices

from fcnexp.cli import entry
from fcnexp.config.compose import compose_run
from fcnexp.config.mistakes import Given, explain
from fcnexp.config.overrides import checked
from fcnexp.errors import ConfigError

TEXT = (ROOT / "docs/COMING_FROM.md").read_text().partition("## From lightning-hydra-template")[2]
ROWS = re.findall(r"^\| (`.+?) \| (.+?) \|$", TEXT, re.MULTILINE)


def typed(cell: str) -> list[list[str]]:
    """The commands of a cell, as words."""
    return [shlex.split(command) for command in re.findall(r"`([^`]+)`", cell)]


def refusal(words: list[str], tmp_path) -> str:
    """The message with which a command is refused; "" if it passes all checks."""
    command = "evaluate" if words[0] == "eval.py" else "train"
    if command == "evaluate":
        entry.offer_data_of_checkpoint([])
        try:
            compose_run(words[1:], "evaluate")
        except Exception as error:
            return explain(error, Given(words[1:], "evaluate"))
        return ""
    try:
        checked(first_choices([w for w in words if "glob(" not in w], tmp_path))
    except ConfigError as error:
        return str(error)
    return ""


def test_table_has_the_readme_of_the_template():
    words = [word for cell, _ in ROWS for command in typed(cell) for word in command]
    names = {word.lstrip("+").partition("=")[0] for word in words}
    theirs = "trainer logger experiment callbacks seed debug ckpt_path tags hparams_search -m"
    arguments = "max_epochs gradient_clip_val val_check_interval accumulate_grad_batches max_time"
    theirs += "".join(
        f" trainer.{name}" for name in f"{arguments} detect_anomaly precision".split()
    )
    assert set(theirs.split()) < names and len(ROWS) >= 12


@pytest.mark.parametrize(("theirs", "ours"), ROWS, ids=[cell for cell, _ in ROWS])
def test_habit_works_or_is_answered(theirs, ours, tmp_path):
    for words in typed(theirs):
        said = refusal(words, tmp_path)
        if ours == "the same":
            assert said == ""
            continue
        assert said, f"{words} is not refused"
        first = typed(ours)[0]
        keys = [word.lstrip("+").partition("=")[0] for word in first if "=" in word]
        new = [key for key in keys if not any(w.startswith(f"{key}=") for w in words)] or keys
        assert any(key in said for key in new), said
    if ours != "the same":
        for words in typed(ours):
            words = words[2:] if words[0] == "python" else words
            words = ["eval.py", *words[1:]] if words[0] == "fcnexp.evaluate" else words
            assert "=" not in words[-1] or refusal(words, tmp_path) == "", words


@pytest.mark.slow
def test_what_works_trains(tmp_path):
    """Each on the CPU, with the arguments that make it quick; `glob` as a dry run."""
    typed_glob = ["-m", "experiment=glob(shapes_*)", "dry_run=true", "trainer=cpu", "logger=csv"]
    done = fcnexp("train", *typed_glob, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and done.stdout.count("config is fine") == 2, done.stderr
    quick = [*TINY, "trainer=cpu", "logger=csv", "pictures=0"]
    for number, (theirs, ours) in enumerate(ROWS):
        (words, *_) = typed(theirs) if ours == "the same" else typed(ours)
        left = {"trainer=gpu", "logger=wandb", "python", "experiment=voc_fcn8s", "-m"}
        left |= {"trainer.devices=2"}  # starts processes; docs/SPEED.md is run from top to bottom
        if left & set(words) or "ckpt" in theirs or "regime.steps" in words:
            continue
        own = [w for w in quick if w.partition("=")[0] not in {x.partition("=")[0] for x in words}]
        if any("max_epochs" in word for word in words):
            own = [word for word in own if not word.startswith("regime.steps")]
        run = [*own, *words, f"hydra.run.dir=out{number}"]
        done = fcnexp("train", *dict.fromkeys(run), folder=tmp_path, cache=tmp_path)
        assert done.returncode == 0, (words, done.stderr)
        assert (tmp_path / f"out{number}/result.json").is_file() or "outputs/" in words[-1]
