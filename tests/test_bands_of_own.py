"""Images of five bands from a folder of one's own, from `prepare bands` to an exported net."""

import json

import numpy as np
import pytest
import torch
import yaml
from band_scenes import OPTIONS, scene, write_scenes
from commands import fcnexp as run
from PIL import Image

import fcnexp
from fcnexp.data.bands import picture_of
from fcnexp.nn.weights.checkpoints import read_checkpoint

DATA = ["data=folder", "data.root=fields"]
USED = ["modality=bands", "modality.bands.use=[4,3,2,1]"]
CHECKPOINT = "checkpoint=out/checkpoints/last.ckpt"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with `fields`, described, and a short training on them in `out`."""
    folder = tmp_path_factory.mktemp("bands")
    write_scenes(folder / "fields")
    ok(folder, "prepare", "bands", *DATA, "rgb=[3,2,1]", "nodata=0", "workers=0")
    ok(folder, "train", *DATA, *USED, *OPTIONS, "pictures=1", "hydra.run.dir=out")
    return folder


def ok(folder, *words):
    done = run(*words, folder=folder, cache=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_checkpoint_holds_bands_and_statistics(place):
    stored = read_checkpoint(str(place / "out/checkpoints/last.ckpt"))["fcnexp"]
    facts, written = stored["recipe"]["fields"]["bands"], yaml.safe_load(
        (place / "fields/bands.yaml").read_text()
    )  # fmt: skip
    assert facts["use"] == (4, 3, 2, 1) and facts["rgb"] == (3, 2, 1) and facts["nodata"] == 0
    assert list(facts["mean"]) == written["mean"] and list(facts["std"]) == written["std"]
    config = yaml.safe_load((place / "out/config.yaml").read_text())
    assert config["modality"]["bands"]["mean"] == written["mean"]


def test_pictures_show_red_green_and_blue(place):
    panel = np.asarray(Image.open(place / "out/pictures/panels/scene6/image.jpg"))
    bands = torch.from_numpy(scene(6)[0].astype(np.float32).transpose(2, 0, 1))
    Image.fromarray(picture_of(bands, [3, 2, 1])).save(place / "rgb.jpg", quality=85)
    np.testing.assert_array_equal(panel, np.asarray(Image.open(place / "rgb.jpg")))


def test_predict_load_and_onnx_label_alike(place):
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    said = ok(place, "export", CHECKPOINT, "output=net.onnx")
    assert "takes bands: float32 (N, 5, H, W), all bands of a file as stored" in said
    for net, output in ((CHECKPOINT, "labels"), ("onnx=net.onnx", "labels_onnx")):
        ok(place, "predict", net, "input=fields/images", f"output={output}", "save_scores=true")
    net, image = fcnexp.load(place / "out/checkpoints/last.ckpt"), scene(7)[0]
    with torch.inference_mode():
        x = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None]
        scores = net.net(net.recipe.apply({"bands": x}, torch.tensor([[40, 48]])))[0].numpy()
    np.testing.assert_array_equal(net.scores(image), scores)
    np.testing.assert_array_equal(net.scores(image.transpose(2, 0, 1)), scores)
    np.testing.assert_array_equal(net.label(image), scores.argmax(0))
    np.testing.assert_allclose(np.load(place / "labels/scene7.npy"), scores, atol=1e-5)
    np.testing.assert_allclose(np.load(place / "labels_onnx/scene7.npy"), scores, atol=1e-4)
    with pytest.raises(
        fcnexp.DataError, match=r"\(40, 48, 4\); must be numbers \(H, W, 5\) or \(5"
    ):
        net.label(image[..., :4])


def test_missing_pixels_count_as_the_mean(place):
    net, image = fcnexp.load(place / "out/checkpoints/last.ckpt"), scene(7)[0].astype(np.float64)
    image[5:9, 5:9] = net.recipe.bands.mean
    expected = net.scores(image)
    for missing in (0, np.nan, np.inf):
        image[5:9, 5:9] = missing
        np.testing.assert_allclose(net.scores(image), expected, atol=1e-5)


def test_other_statistics_are_another_run(place):
    """Statistics count as settings: a run is not resumed with others."""
    file = place / "fields/bands.yaml"
    text = file.read_text()
    try:
        file.write_text(text.replace("mean: [", "mean: [1", 1))
        done = run("train", *DATA, *USED, *OPTIONS, "hydra.run.dir=out", folder=place, cache=place)
    finally:
        file.write_text(text)
    assert done.returncode == 1 and "modality.bands.mean" in done.stderr, done.stderr


def test_check_reads_bands_and_names_a_file_with_others(place):
    path = place / "fields/images/scene6.npy"
    before = path.read_bytes()
    try:
        np.save(path, scene(6)[0][..., :3])
        done = run("prepare", "check", *DATA, "workers=0", "hydra.run.dir=check", folder=place,
                   cache=place)  # fmt: skip
    finally:
        path.write_bytes(before)
    assert done.returncode == 1
    assert "1 broken: fields/images/scene6.npy: has 3 bands" in done.stderr, done.stderr
    found = json.loads((place / "check/check.json").read_text())
    assert found["train"]["images"] == 6 and (place / "check/sheet.png").is_file()


def test_without_a_description_the_message_says_what_to_type(tmp_path):
    write_scenes(tmp_path / "fields")
    done = run("train", *DATA, *USED, *OPTIONS, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1
    assert "fields/bands.yaml: no such file" in done.stderr
    assert "python -m fcnexp.prepare bands data=folder data.root=fields" in done.stderr
    done = run("train", "modality=bands", *OPTIONS, folder=tmp_path, cache=tmp_path)
    assert "or give modality.bands.mean=[...] and modality.bands.std=[...]" in done.stderr
