"""`python -m fcnexp.bench` with tiny settings: every part completes and writes its record."""

import json
import sys

import pytest
from commands import fcnexp
from PIL import Image

from fcnexp.benching import measure, peer

SMALL = [
    *("nets=[fcn32s]", "channels=4", "size=[16,16]", "sizes=[[16,8]]", "rounds=1"),
    *("images=3", "dense_size=[40,40]", "sides=[16,32]", "batches=[1,2]", "workers=[0,1]"),
    *("steps=4", "memory=false", "device=cpu"),
]
TABLES = {
    "infer": 2,
    "train": 2,
    "ways": 2,
    "eval": 2,
    "data": 3,
    "dense": 2,
    "hha": 1,
    "startup": 1,
}


@pytest.fixture
def without_peer(monkeypatch):
    monkeypatch.setattr(peer, "torchfcn", lambda: None)
    monkeypatch.setattr(measure, "SHAPES", ((8, 8, 64),))  # saves time; the value is not checked


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def run(tmp_path, cache, *arguments):
    return fcnexp("bench", *arguments, "hydra.run.dir=run", folder=tmp_path, cache=cache)


@pytest.mark.parametrize("part", ["hha"])
def test_a_part_writes_its_record(part, tmp_path, cache, without_peer):
    check_part(part, tmp_path, cache)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["train", "ways", "eval", "data", "dense", "startup"])
def test_a_longer_part_writes_its_record(part, tmp_path, cache, without_peer):
    check_part(part, tmp_path, cache)


def check_part(part, tmp_path, cache):
    done = run(tmp_path, cache, part, *SMALL)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "bench.json").read_text())
    assert list(record["parts"]) == [part]
    tables = record["parts"][part]["tables"]
    assert len(tables) == TABLES[part]
    for table in tables:
        assert table["title"] in done.stdout.replace("\n", " ")
        for row in table["rows"]:
            assert all(seconds > 0 for seconds in row["seconds"])
    page = (tmp_path / "run" / "BENCH.md").read_text()
    assert all(f"**{table['title']}**" in page for table in tables)


@pytest.mark.slow
def test_candidates_of_infer_have_equal_scores(tmp_path, cache, without_peer):
    check_part("infer", tmp_path, cache)
    table = json.loads((tmp_path / "run" / "bench.json").read_text())["parts"]["infer"]["tables"][0]
    rows = {row["name"]: row for row in table["rows"]}
    # The plain net is the textbook net in channels_last (test_candidates), for which oneDNN may
    # choose a less accurate convolution: 1.7e-5 from float64 on a Xeon with AMX.
    for name, bound in (("fcnexp", 1e-5), ("fcnexp, plain", 1e-4)):
        assert rows[name]["facts"]["difference"] < bound
        assert rows[name]["facts"]["other labels"] == "0.00 %"
        assert rows[name]["times_as_fast_as"].keys() == {"textbook"}
    assert 0 < rows["fcnexp, bf16, approximate"]["facts"]["difference"] < 0.1
    assert rows["torchvision fcn_resnet50"]["times_as_fast_as"] == {}


@pytest.mark.slow
def test_scale_is_plotted(tmp_path, cache, without_peer):
    done = run(tmp_path, cache, "scale", *SMALL)
    assert done.returncode == 0, done.stderr
    tables = json.loads((tmp_path / "run" / "bench.json").read_text())["parts"]["scale"]["tables"]
    assert len(tables) == 6
    samples = [row["facts"] for row in tables[5]["rows"]]
    assert [sample["after"] for sample in samples] == [1, 2, 3, 4]
    assert all(0.1 < sample["GiB"] < 64 for sample in samples)
    with Image.open(tmp_path / "run" / "scale.png") as picture:
        assert min(picture.size) > 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["speed"], "speed: the first word must be one of infer, train, ways"),
        (["part=speed"], "part=speed: no such part; choose one of infer, train"),
        (["part=[]"], "part=[]: choose one or more of infer"),
        (["infer", "nets=[fcn4s]"], "nets=['fcn4s']: allowed are fcn8s, fcn16s, fcn32s"),
        (["infer", "device=tpu"], "device=tpu: allowed are auto, cpu, cuda"),
        (["infer", "rounds=0"], "rounds=0: must be 1 or more"),
        (["infer", "size=[5]"], "size=[5]: must be height and width in pixels, such as [500,500]"),
        (["infer", "sizes=[]"], "sizes=[]: must have at least one element"),
        (["infer", "round=3"], "round: no such key (did you mean rounds?)"),
    ],
)
def test_mistakes_are_reported(arguments, message, tmp_path, cache):
    done = run(tmp_path, cache, *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["voc", "sbd", "nyud"])
def test_an_invalid_folder_is_refused_before_anything_is_measured(key, tmp_path, cache):
    (tmp_path / "else").mkdir()
    done = run(tmp_path, cache, "startup", f"{key}=else")
    assert done.returncode == 1 and "else" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_peer_may_be_absent(monkeypatch):
    """And no stand-in module `fcn` is left in sys.modules."""
    monkeypatch.setitem(sys.modules, "torchfcn", None)
    monkeypatch.delitem(sys.modules, "fcn", raising=False)
    assert peer.torchfcn() is None
    assert "fcn" not in sys.modules
