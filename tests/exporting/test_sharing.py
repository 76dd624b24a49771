"""Nets to share: safetensors files that are read as checkpoints, and model cards."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from commands import TINY, fcnexp
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fcnexp as package
from fcnexp.nn.weights.checkpoints import read_checkpoint

LAST = "checkpoint=out/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Folder with a finished run `out`, and its net shared in `shared`."""
    folder = tmp_path_factory.mktemp("sharing")
    given = ["data.num_val=12", "model=fcn16s", "logger=csv", "trainer=cpu", "hydra.run.dir=out"]
    assert command(folder, "train", *TINY, *given).returncode == 0
    given = [LAST, "output=shared/net.safetensors", "format=safetensors", "card=true"]
    done = command(folder, "export", *given, "licence=cc-by-4.0")
    assert done.returncode == 0, done.stderr
    assert "shared/README.md: model card" in done.stdout
    return folder


def command(folder: Path, name: str, *arguments: str):
    return fcnexp(name, *arguments, folder=folder, cache=folder / "cache")


def test_other_programs_read_the_same_tensors_and_the_facts(run):
    tensors = load_file(run / "shared/net.safetensors")
    stored = torch.load(run / "out/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    expected = {name.removeprefix("net."): t for name, t in stored.items() if name[:4] == "net."}
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in tensors)
    with safe_open(run / "shared/net.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["fcnexp"])
    assert facts["skips"] == [16] and facts["class_names"][0] == "background"


def test_it_is_a_checkpoint_that_names_no_folder_of_this_machine(run):
    ours = read_checkpoint(run / "out/checkpoints/last.ckpt")["fcnexp"]
    shared = read_checkpoint(run / "shared/net.safetensors")["fcnexp"]
    root = ours["config"]["data"].pop("root")
    assert Path(root).is_absolute() and shared["config"]["data"].pop("root") == Path(root).name
    assert shared["recipe"] == ours["recipe"]  # with tuples, which JSON does not have
    assert json.dumps(shared) == json.dumps(ours)
    assert str(run).encode() not in (run / "shared/net.safetensors").read_bytes()


def test_label_evaluate_predict_and_go_on_from_it(run):
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    ours = package.load(run / "out/checkpoints/last.ckpt").label(image)
    assert np.array_equal(package.load(run / "shared/net.safetensors").label(image), ours)
    given = ["checkpoint=shared/net.safetensors", "hydra.run.dir=scored", "trainer=cpu"]
    done = command(run, "evaluate", *given)
    assert done.returncode == 0, done.stderr
    scores = [
        json.loads((run / f / "result.json").read_text())["scores"] for f in ("out", "scored")
    ]
    assert scores[0] == scores[1]
    given = [*TINY, "model=fcn8s", "init=checkpoint", "init.path=shared/net.safetensors"]
    done = command(run, "train", *given, "logger=csv", "trainer=cpu", "hydra.run.dir=further")
    assert done.returncode == 0, done.stderr


def test_card_has_scores_licence_and_use(run):
    text = (run / "shared/README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "cc-by-4.0"
    record = json.loads((run / "out/result.json").read_text())
    low, high = record["intervals"]["scores"]["miou"]
    miou = record["scores"]["miou"]
    assert f"| mean IU | {100 * miou:.1f} | {100 * low:.1f} to {100 * high:.1f} |" in body
    assert "# fcn16s, tiny" in body and 'fcnexp.load("net.safetensors")' in body
    assert "`rgb`: uint8 (N, 3, H, W), RGB" in body and "On 12 validation images" in body
    for name, value in record["class_iou"].items():
        assert f"| {name} | {'-' if value is None else format(100 * value, '.1f')} |" in body
    assert str(run) not in text


def test_card_without_a_record_says_so_and_another_readme_is_kept(run):
    (run / "alone").mkdir()
    (run / "alone/README.md").write_text("mine")
    (run / "alone/x.ckpt").write_bytes((run / "out/checkpoints/last.ckpt").read_bytes())
    given = ["checkpoint=alone/x.ckpt", "format=state_dict", "card=true"]
    done = command(run, "export", *given, "output=alone/x.pt")
    assert done.returncode == 1 and "README.md exists; choose an output" in done.stderr
    assert (run / "alone/README.md").read_text() == "mine" and not (run / "alone/x.pt").exists()
    done = command(run, "export", *given, "output=new/x.pt")
    assert done.returncode == 0, done.stderr
    text = (run / "new/README.md").read_text()
    assert "Not known: the checkpoint was not in the folder" in text
    assert "license: unknown" in text and "torch.load" in text


def test_files_that_are_not_ours_are_told_apart(run, tmp_path):
    save_file({"conv.weight": torch.zeros(3, 3)}, tmp_path / "theirs.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((run / "shared/net.safetensors").read_bytes()[:999])
    (tmp_path / "odd.safetensors").write_bytes(b"\x10" + bytes(7) + b'{"a":' + bytes(11))
    torn = {"fcnexp_checkpoint": "[" * 100_000}
    save_file({"a": torch.zeros(1)}, tmp_path / "deep.safetensors", metadata=torn)
    (tmp_path / "net.bin").write_bytes((run / "shared/net.safetensors").read_bytes())
    for name, words in (
        ("theirs.safetensors", "but not one of python -m fcnexp.export"),
        ("cut.safetensors", "damaged"),
        ("odd.safetensors", "damaged"),
        ("deep.safetensors", "damaged"),
        ("none.safetensors", "no such checkpoint"),
        ("net.bin", "must end in .safetensors"),
    ):
        done = command(run, "export", f"checkpoint={tmp_path / name}", "format=state_dict")
        assert done.returncode == 1 and words in done.stderr, (name, done.stderr)
        assert "Traceback" not in done.stderr
    given = [*TINY, "init=checkpoint", f"init.path={tmp_path / 'theirs.safetensors'}"]
    done = command(run, "train", *given, "trainer=cpu", "hydra.run.dir=none")
    assert done.returncode == 1 and "Traceback" not in done.stderr and "theirs" in done.stderr
