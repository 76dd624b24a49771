"""A net that is only scored (regime.steps=0) must have trained score layers."""

import numpy as np
import pytest
import torch
from caffe_files import write_caffemodel

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError, WeightsError
from fcnexp.nn.backbones import vgg
from fcnexp.nn.fast import border
from fcnexp.nn.weights.caffe_names import blobs
from fcnexp.run.staging import stages

NET = ["data=shapes", "backbone=vgg16", "head.channels=5", "model=fcn8s", "init=caffemodel"]


@pytest.fixture(autouse=True)
def thin(monkeypatch):
    for module in (vgg, border):
        monkeypatch.setattr(module, "BLOCKS", ((4, 2), (4, 2), (6, 3), (8, 3), (8, 3)))


@pytest.fixture
def files(tmp_path):
    """A classifier's file, and one of an FCN-8s."""
    rng, net = np.random.default_rng(0), build.network([*NET, "init=scratch"])
    whole = {
        name: [rng.normal(size=t.shape).astype(np.float32) for t in tensors]
        for name, tensors in blobs(net).items()
    }
    write_caffemodel(tmp_path / "fcn8s.caffemodel", whole)
    trunk = {name: each for name, each in whole.items() if not name.startswith("score")}
    write_caffemodel(tmp_path / "VGG16.caffemodel", trunk)
    return tmp_path


def task(*overrides: str):
    cfg = compose_run([*NET, *overrides])
    return build.build_task(cfg, build.part(cfg, "data"))


def test_a_classifiers_file_cannot_be_scored(files):
    message = (
        r"regime\.steps=0 only scores, but \S*VGG16.caffemodel has no trained weights for "
        r"score_fr, score_pool4, score_pool3: .*init=checkpoint init\.path=FILE"
    )
    with pytest.raises(WeightsError, match=message):
        task(f"init.path={files}/VGG16.caffemodel", "regime.steps=0")
    task(f"init.path={files}/VGG16.caffemodel", "regime.steps=1")


def test_a_trained_file_can_be_scored(files):
    made = task(f"init.path={files}/fcn8s.caffemodel", "regime.steps=0")
    assert all(layer.weight.any() for layer in made.net.score_layers())


def test_one_new_skip_is_enough_to_refuse(files):
    """A child starts with its parent's scores, but its row of the table is not the parent's."""
    narrow = ["model=fcn16s", "init.strict=false", f"init.path={files}/fcn8s.caffemodel"]
    task(*narrow, "regime.steps=0")  # all of its score layers are in the file
    with pytest.raises(WeightsError, match="no trained weights for score_pool2:"):
        task(*narrow, "model=fcn4s", "regime.steps=0")


@pytest.mark.parametrize("model", ["fcn32s", "deconvnet"])
def test_random_weights_cannot_be_scored(model):
    with pytest.raises(WeightsError, match="init has no trained weights for score_fr: "):
        task(f"model={model}", "init=scratch", "regime.steps=0")


def test_random_score_layers_of_a_published_trunk_cannot_be_scored(tmp_path, monkeypatch):
    """Xavier's weights are not zero, but nobody trained them."""
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    monkeypatch.setattr("fcnexp.nn.weights.init.fetch", lambda *_: tmp_path / "resnet18.pth")
    typed = ["data=shapes", "backbone=resnet18", "model=fcn32s", "init=imagenet_xavier"]
    cfg = compose_run([*typed, "regime.steps=0"])
    with pytest.raises(WeightsError, match="no trained weights for score_fr: "):
        build.build_task(cfg, build.part(cfg, "data"))


def test_training_in_stages_needs_steps(tmp_path):
    cfg = compose_run(["model=fcn8s", "init=staged", "init.steps=5", "regime.steps=0"])
    with pytest.raises(ConfigError, match=r"init=staged trains, but regime\.steps=0 only scores"):
        stages(cfg, tmp_path)
