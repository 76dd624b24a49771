"""File names on the command line: taken as they are, through Hydra and OmegaConf."""

from pathlib import Path

import pytest
from commands import fcnexp
from omegaconf import OmegaConf
from PIL import Image
from test_predict import SMALL, write_checkpoint

from fcnexp.cli.arguments import prepared
from fcnexp.cli.file_names import as_they_are
from fcnexp.config.quoting import read

ODD = [
    *("a b.jpg", "a (1).jpg", "a,b.jpg", "a=b.jpg", "[1,2].jpg", "{a: 1}.jpg", "größe.jpg"),
    *("日本 語.jpg", "Ann's.jpg", "'half.jpg", 'say "hi".jpg', "'all'", "$HOME.jpg", "a#b;c&d.jpg"),
    *("a\\b.jpg", "end\\", "1_000", "1e3", "true", "007", " lead.jpg", "tail.jpg "),
    *("choice(a,b)", "str(5)", "a|b<c>d!e`f`*?.jpg", "-dash.jpg", "a:b.jpg", "two\nlines.jpg"),
]
LITERAL_IF_THERE = [
    "${x}.jpg",
    "a\\${x}b.jpg",
    "\\\\${y}.jpg",
    "'quoted'.jpg",
    "a\\ b.jpg",
    "a\\,b.jpg",
]


def value_of(argument: str) -> object:
    """Return the value that a config gets from an argument."""
    override = read(argument)
    assert override is not None and not override.is_sweep_override(), argument
    return OmegaConf.create({"value": override.value()}).value


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("key", ["input", "+data.root", "hydra.run.dir"])
def test_a_name_arrives_as_it_is(name, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = name if name != "'all'" else "'all' of it"
    (argument,) = as_they_are([f"{key}={name}"], sweeps=False)
    assert value_of(argument) == name
    assert as_they_are([argument], sweeps=False) == [argument]  # also a process that repeats it


@pytest.mark.parametrize("name", [*ODD, *LITERAL_IF_THERE])
@pytest.mark.parametrize("sweeps", [True, False])
def test_a_file_that_exists_is_meant_in_a_sweep_too(name, sweeps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    (argument,) = as_they_are([f"input={name}"], sweeps=sweeps)
    assert value_of(argument) == name


KEPT = {  # quoted, escaped or interpolated for Hydra, or nothing to quote
    "input='a (1).jpg'": "a (1).jpg",
    'input="a (1).jpg"': "a (1).jpg",
    "input=a\\ \\(1\\).jpg": "a (1).jpg",
    "input=${oc.env:FCNEXP_TEST}/a.jpg": "there/a.jpg",
    'input="${oc.env:FCNEXP_TEST} (1)"': "there (1)",
    "input=null": None,
    "input=photos/*.jpg": "photos/*.jpg",
    "input=-": "-",
    "regime.lr=1": 1,
    "seed=true": True,
}


@pytest.mark.parametrize("argument", KEPT)
def test_what_hydra_reads_already_is_unchanged(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FCNEXP_TEST", "there")
    assert as_they_are([argument], sweeps=False) == [argument]
    assert value_of(argument) == KEPT[argument]


SWEPT = {
    "data.root=/one (1)/VOC,/two/VOC": ["/one (1)/VOC", "/two/VOC"],
    "data.root='a, b',größe": ["a, b", "größe"],
    "data.root=Ann's,Bob's": ["Ann's", "Bob's"],
    "data.root=a\\,b,c": ["a,b", "c"],
    "data.root=choice(a,b)": ["a", "b"],
    "init.path=null,a b.ckpt": ["null", "a b.ckpt"],
}


@pytest.mark.parametrize("argument", SWEPT)
def test_commas_sweep_over_names(argument, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, swept = prepared(["-m", argument], "train")
    values = [read(f"x={text}").value() for text in read(swept).sweep_string_iterator()]
    assert [str(value) if value is not None else "null" for value in values] == SWEPT[argument]


def test_a_folder_of_hydra_is_never_swept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, folder = prepared(["-m", "hydra.sweep.dir=a,b"], "train")
    assert value_of(folder) == "a,b"


def test_a_tilde_is_the_home_folder_only_where_it_can_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    Path("~notes.jpg").touch()
    given = ["input=~notes.jpg", "input=~nobody-of-this-name", "input=~/a b.jpg"]
    given += ["hydra.run.dir=~/runs (1)"]
    values = [value_of(argument) for argument in as_they_are(given, sweeps=False)]
    assert values[:2] == ["./~notes.jpg", "./~nobody-of-this-name"]
    assert values[2:] == ["~/a b.jpg", "/home/me/runs (1)"]  # the commands expand the former


def test_flags_may_stand_anywhere():
    given = ["seed=1,2", "-m", "model=fcn8s", "--config-dir", "my conf", "--", "workers=0"]
    flags = ["-m", "--config-dir", "my conf"]
    assert prepared(given, "train") == [*flags, "seed=1,2", "model=fcn8s", "workers=0"]


def test_predict_takes_any_name(tmp_path):
    """Of the checkpoint, the folders and the photographs."""
    odd = "a (1), [b] = größe's $HOME"
    write_checkpoint(tmp_path / f"{odd}.ckpt", *SMALL)
    photos = tmp_path / f"in {odd}"
    photos.mkdir()
    for name in ODD:
        Image.new("RGB", (9, 8)).save(photos / f"{name}.png")
    words = [f"checkpoint={odd}.ckpt", f"input=in {odd}", f"output=out {odd}", "overlay=false"]
    done = fcnexp("predict", *words, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    labelled = sorted(path.stem for path in (tmp_path / f"out {odd}").glob("*.png"))
    assert labelled == sorted(ODD)
