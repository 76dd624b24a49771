"""`python -m fcnexp.export`, and its files used without fcnexp."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from commands import TINY, fcnexp
from documents import ROOT, blocks
from PIL import Image

from fcnexp.errors import WeightsError
from fcnexp.exporting import formats
from fcnexp.predict import labeller_of
from fcnexp.predicting.onnx_net import OnnxNet
from fcnexp.predicting.windows import label_picture

CHECKPOINT = "checkpoint=out/checkpoints/last.ckpt"
# The code blocks of docs/PREDICT.md, with the paths of this test's files.
PLAIN, PROGRAM, TENSORS = (
    block.text.replace("pets.", "files/fcn.").replace("photo.jpg", "photos/wide.png")
    for block in blocks(ROOT / "docs/PREDICT.md")
    if block.language == "python"
)
NEAR = 1e-4  # of the largest score: allowed difference between a file's scores and the net's


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Folder with a small finished run in `out/`, its net as `fcn.onnx`, and `photos/`."""
    folder = tmp_path_factory.mktemp("run")
    done = command(folder, "train", *TINY, "model=fcn8s", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    done = command(folder, "export", CHECKPOINT, "output=files/fcn.onnx", "labels=true")
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert len(done.stdout.splitlines()) < 10, done.stdout  # without the exporter's own output
    (folder / "stdout.txt").write_text(done.stdout)
    made = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for name, size in (("wide.png", (50, 83)), ("thin.png", (65, 7)), ("dot.png", (1, 1))):
        coarse = made.integers(0, 256, (3, 4, 3), dtype=np.uint8)  # smooth regions, as in photos
        Image.fromarray(coarse).resize(size[::-1]).save(folder / "photos" / name)
    return folder


def command(folder: Path, name: str, *arguments: str):
    return fcnexp(name, *arguments, folder=folder, cache=folder / "cache")


def test_export_prints_the_difference_the_inputs_and_the_outputs(run):
    text = (run / "stdout.txt").read_text()
    assert "files/fcn.onnx: scores differ from the net's by" in text and "1x1 to 261x289" in text
    assert "takes rgb: uint8 (N, 3, H, W), RGB" in text
    assert "gives scores: float32 (N, 8, H, W); labels: uint8 (N, H, W)" in text
    assert [path.name for path in (run / "files").iterdir()] == ["fcn.onnx"]
    assert len(text.splitlines()) == 3  # without the exporter's own output


def test_file_describes_its_net(run):
    model = onnx.load(run / "files/fcn.onnx")
    onnx.checker.check_model(model)
    facts = json.loads({p.key: p.value for p in model.metadata_props}["fcnexp"])
    stored = torch.load(run / "out/checkpoints/last.ckpt", weights_only=True)["fcnexp"]
    assert facts["class_names"] == stored["class_names"] and facts["recipe"] == json.loads(
        json.dumps(stored["recipe"])
    )
    assert (facts["model"], facts["backbone"], facts["skips"]) == ("SkipNet", "Tiny", [16, 8])
    assert facts["checkpoint"]["name"] == "last.ckpt" and len(facts["checkpoint"]["sha256"]) == 64
    assert "data" not in facts["config"]  # it names folders of one machine
    sides = {
        one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim]
        for one in (*model.graph.input, *model.graph.output)
    }
    assert sides == {
        "rgb": ["batch", 3, "height", "width"],
        "scores": ["batch", 8, "height", "width"],
        "labels": ["batch", "height", "width"],
    }


def predicted(folder: Path, source: str, output: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Label and scores of each image, by name."""
    kept = ["input=photos", f"output={output}", "save_scores=true", "overlay=false"]
    done = command(folder, "predict", source, *kept)
    assert done.returncode == 0, done.stderr
    return {
        path.stem: (
            np.asarray(Image.open(path.with_suffix(".png"))),
            np.load(path),
        )
        for path in (folder / output).glob("*.npy")
    }


def assert_same_labels(label: np.ndarray, expected: np.ndarray, scores: np.ndarray) -> None:
    """Assert equal labels wherever the two best scores differ by more than the allowed error."""
    second, best = np.sort(scores, axis=0)[-2:]
    clear = best - second > NEAR * np.abs(scores).max()
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(label[clear], expected[clear])


def test_predict_gives_the_same_from_the_file_as_from_the_checkpoint(run):
    ours = predicted(run, CHECKPOINT, "ours")
    theirs = predicted(run, "onnx=files/fcn.onnx", "theirs")
    assert set(ours) == set(theirs) == {"wide", "thin", "dot"}
    for name, (label, scores) in ours.items():
        np.testing.assert_allclose(theirs[name][1], scores, atol=NEAR * np.abs(scores).max())
        assert_same_labels(theirs[name][0], label, scores)


def test_ten_lines_without_fcnexp_give_the_same_labels(run):
    ask = "import sys; assert not {'fcnexp', 'torch'} & set(sys.modules), 'not independent'\n"
    ask += "np.save('labels.npy', net.run(['labels'], {'rgb': rgb})[0])"
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", PLAIN + ask], cwd=run, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    label = np.asarray(Image.open(run / "label.png"))
    expected, scores = predicted(run, CHECKPOINT, "plain")["wide"]
    assert_same_labels(label, expected, scores)
    np.testing.assert_array_equal(np.load(run / "labels.npy")[0], label)
    shares = eval(done.stdout)
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert set(shares) <= {"background", *OnnxNet(run / "files/fcn.onnx", "cpu").class_names}


@pytest.mark.real_data
def test_real_photographs_get_the_checkpoints_labels(run, shared_data, tmp_path):
    photos = sorted((shared_data / "voc/JPEGImages").glob("*.jpg"))[:4]
    (tmp_path / "photos").mkdir()
    for path in photos:
        (tmp_path / "photos" / path.name).symlink_to(path)
    ours = predicted(tmp_path, f"checkpoint={run}/out/checkpoints/last.ckpt", "ours")
    theirs = predicted(tmp_path, f"onnx={run}/files/fcn.onnx", "theirs")
    assert len(ours) == 4
    for name, (label, scores) in ours.items():
        assert_same_labels(theirs[name][0], label, scores)


@pytest.mark.parametrize(
    ("form", "file", "lines"),
    [("state_dict", "fcn.pt", TENSORS), ("torch_export", "fcn.pt2", PROGRAM)],
)
def test_code_of_the_docs_uses_the_other_formats(form, file, lines, run, monkeypatch):
    done = command(run, "export", CHECKPOINT, f"format={form}", f"output=files/{file}")
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(run)
    image = torch.from_numpy(np.array(Image.open("photos/wide.png").convert("RGB")))
    names = {"image": image.permute(2, 0, 1)[None]}
    with torch.inference_mode():
        exec(lines, names)
    _, expected = predicted(run, CHECKPOINT, f"for_{form}")["wide"]
    np.testing.assert_allclose(
        names["scores"][0].numpy(), expected, atol=NEAR * np.abs(expected).max()
    )


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["format=tflite"], "format=tflite: allowed are onnx, torch_export, state_dict"),
        (["output=files/fcn.onnx"], "file exists; choose another, or set overwrite=true"),
        (["output=files/fcn.pt2"], "must end in .onnx; try output=files/fcn.onnx"),
        (["output=files"], "try output=files/fcn.onnx"),
        (["format=state_dict", "labels=true"], "try labels=false, format=onnx"),
        (["checkpoint=none.ckpt"], "none.ckpt: no such checkpoint"),
        (["output=stdout.txt/new.onnx"], "output=stdout.txt: cannot create this folder"),
    ],
)
def test_mistakes_in_an_export_give_one_line(arguments, text, run):
    before = (run / "files/fcn.onnx").read_bytes()
    done = command(run, "export", CHECKPOINT, *arguments)
    assert done.returncode == 1 and text in done.stderr and done.stderr.count("\n") == 1
    assert (run / "files/fcn.onnx").read_bytes() == before


def not_ours(folder: Path) -> str:
    one = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    two = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "other", [one], [two])
    opset = onnx.helper.make_opsetid("", 20)
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[opset])
    onnx.save(model, folder / "other.onnx")
    return "onnx=other.onnx"


def tensors_alone(folder: Path) -> str:
    command(folder, "export", CHECKPOINT, "format=state_dict", "output=fcn_alone.pt")
    return "checkpoint=fcn_alone.pt"


def cut_short(folder: Path) -> str:
    whole = (folder / "files/fcn.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    return "onnx=cut.onnx"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "checkpoint: required, but not given; add checkpoint="),
        ([CHECKPOINT, "onnx=files/fcn.onnx"], "two nets were given; remove one of them"),
        (["onnx=none.onnx"], "no such file; python -m fcnexp.export checkpoint=... writes one"),
        ([not_ours], "not an ONNX file of fcnexp"),
        ([cut_short], "onnxruntime cannot read it"),
        ([tensors_alone], "fcn_alone.pt: a state dict of python -m fcnexp.export"),
        (["onnx=files/fcn.onnx", "device=cuda"], "onnxruntime has no CUDAExecutionProvider"),
    ],
)
def test_mistakes_in_a_prediction_give_one_line(arguments, text, run, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    given = [one if isinstance(one, str) else one(run) for one in arguments]
    done = command(run, "predict", *given, "input=photos", "output=nothing")
    assert done.returncode == 1 and text in done.stderr and done.stderr.count("\n") == 1
    assert not (run / "nothing").exists()


def test_images_smaller_than_the_file_allows_are_refused(run):
    net = OnnxNet(run / "files/fcn.onnx", "cpu")
    net.least_side = 8  # as for GoogLeNet, whose poolings need more than a pixel
    with pytest.raises(Exception, match=r"65x7 pixels: .* needs 8 or more"):
        net.scores({"rgb": torch.zeros(3, 7, 65, dtype=torch.uint8)})


def test_file_that_differs_from_the_net_is_not_left_behind(run, monkeypatch, tmp_path):
    true, whole = formats.onnx_runner, run / "files/fcn.onnx"
    program = SimpleNamespace(
        model=onnx_ir.load(whole), save=lambda part, **_: part.write_bytes(whole.read_bytes())
    )
    monkeypatch.setattr("torch.onnx.export", lambda *_, **__: program)  # the real one is slow

    def wrong(path):
        return lambda fields: [1.001 * maps for maps in true(path)(fields)]

    monkeypatch.setattr(formats, "onnx_runner", wrong)
    done = command(run, "export", CHECKPOINT, f"output={tmp_path}/new/fcn.onnx", "labels=true")
    assert done.returncode == 1 and "fcn.onnx: not written; at (1, 33, 65) its sco" in done.stderr
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        ("onnxscript", "export", [CHECKPOINT, "output=new.onnx"]),
        ("onnxruntime", "predict", ["onnx=files/fcn.onnx", "input=photos", "output=nothing"]),
    ],
)
def test_missing_extra_is_named_in_one_line(module, name, arguments, run):
    block = f"import sys; sys.modules['{module}'] = None; from fcnexp.{name} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", block, *arguments], cwd=run, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert f"{module} is not installed; pip install -e '.[export]'" in done.stderr
    assert not (run / "new.onnx").exists()


def test_file_with_incomplete_metadata_is_refused(run):
    model = onnx.load(run / "files/fcn.onnx")
    model.metadata_props[0].value = json.dumps({"class_names": ["a"]})
    onnx.save(model, run / "half.onnx")
    with pytest.raises(WeightsError, match="does not describe its inputs"):
        OnnxNet(run / "half.onnx", "cpu")


def test_windows_of_an_onnx_net_give_the_scores_of_the_complete_image(run, monkeypatch):
    net = OnnxNet(run / "files/fcn.onnx", "cpu")
    rgb = torch.randint(0, 256, (3, 61, 2 * net.tiling.least + 50), dtype=torch.uint8)
    whole = net.scores({"rgb": rgb})
    seen = []
    monkeypatch.setattr(
        "fcnexp.predicting.windows.room", lambda *_: net.bytes_of(61, net.tiling.least + 40)
    )
    monkeypatch.setattr(
        OnnxNet, "scores", lambda self, x, true=OnnxNet.scores: seen.append(x) or true(self, x)
    )
    label = label_picture(net, {"rgb": rgb}, None, scores=(run / "s.npy", tuple(whole.shape)))
    assert len(seen) > 2  # windows
    pieces = torch.from_numpy(np.load(run / "s.npy"))
    torch.testing.assert_close(pieces, whole, atol=NEAR * float(whole.abs().max()), rtol=0)
    assert_same_labels(label, whole.argmax(0).numpy(), whole.numpy())


def test_onnx_file_stores_the_memory_that_the_checkpoint_takes(run):
    mine = labeller_of(str(run / CHECKPOINT.partition("=")[2]), None, "cpu")
    net = OnnxNet(run / "files/fcn.onnx", "cpu")
    for size in ((64, 64), (400, 300), (700, 1100)):
        assert 1 <= net.bytes_of(*size) / mine.bytes_of(*size) < 5
