"""Every kind of net, with its input recipe inside, in onnxruntime and torch.export."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from fcnexp import build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.errors import ExportError
from fcnexp.exporting import formats
from fcnexp.exporting.checking import compare
from fcnexp.exporting.stored import AsStored, made_up

NARROW = "backbone.widths=[4,4,6,6,8,8]"
THIN_HEAD = "head.channels=16"
SKIPLESS = ["backbone=resnet18", "head=linear", "model=fcn32s"]
FORMS = {
    "fcn32s": [NARROW, "model=fcn32s"],
    "fcn16s": [NARROW, "model=fcn16s"],
    "fcn4s": [NARROW, "model=fcn4s"],
    "fcn2s": [NARROW, "model=fcn2s"],
    "fcn1s": [NARROW, "model=fcn1s"],
    "atonce": [NARROW, "model=fcn8s_atonce"],
    "pool4": [NARROW, "model=fcn_pool4"],
    "bilinear": [NARROW, "dense=bilinear"],
    "deconv_learned": [NARROW, "model=fcn8s", "dense=deconv_learned", "dense.learned=all"],
    "rarefaction": [NARROW, "model=fcn32s", "dense=rarefaction"],
    "rarefaction_8": [NARROW, "model=fcn8s", "dense=rarefaction_8"],
    "late": [NARROW, "model=fcn16s", "modality=rgb_hha", "data=rooms"],
    "rgbd": [NARROW, "modality=rgbd", "data=rooms"],
    "depth": [NARROW, "modality=depth", "data=rooms"],
    "deconvnet": [NARROW, "model=deconvnet"],
    "alexnet": ["backbone=alexnet", "model=fcn32s", THIN_HEAD],
    "googlenet": ["backbone=googlenet", "model=fcn8s", "head=linear"],
    "resnet18": ["backbone=resnet18", "model=fcn16s", "head=linear"],
    "deconv_d2l": [*SKIPLESS, "dense=deconv_d2l"],
    "vgg16": ["backbone=vgg16", "model=fcn8s", THIN_HEAD],
    "vgg16_bn": ["backbone=vgg16_bn", "model=fcn16s", THIN_HEAD],
    "vgg16_whole": ["backbone=vgg16", "model=fcn8s"],
}
FACTS = {"class_names": ["a"], "takes": {}}


def stored_net(overrides: list[str], *, labels: bool = False) -> AsStored:
    """A net with its recipe, nonzero scores, and normalisations that are not the identity."""
    cfg = check(compose_run(overrides))
    net, recipe = build.build_net(cfg, build.outputs_of(build.part(cfg, "data")))
    build.first_weights(cfg, net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    for layer in net.score_layers():
        nn.init.normal_(layer.weight)
    return AsStored(net, recipe, labels=labels).eval()


def by_hand(net: AsStored, fields: tuple[torch.Tensor, ...]) -> np.ndarray:
    """Scores computed as in training: the recipe on a batch, then the net."""
    named = dict(zip(net.recipe.fields, fields, strict=True))
    sizes = torch.tensor([fields[0].shape[-2:]] * len(fields[0]))
    with torch.inference_mode():
        return net.net(net.recipe.apply(named, sizes)).numpy()


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(expected).max() > 1e-2
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def sizes_for(least: int) -> list[tuple[int, int, int]]:
    """Batch, height, width that differ from those of the export and its own check."""
    return [(1, least, least), (3, least + 44, least + 17), (1, 97, 230)]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_onnxruntime_gives_the_nets_scores_at_any_size(form, tmp_path):
    net = stored_net(FORMS[form])
    path = tmp_path / "net.onnx"
    print(form, formats.write_onnx(path, net, FACTS))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == list(net.recipe.fields)
    facts = json.loads(session.get_modelmeta().custom_metadata_map["fcnexp"])
    for size in sizes_for(facts["least_side"]):
        fields = made_up(net.recipe, *size)
        arrays = {n: f.numpy() for n, f in zip(net.recipe.fields, fields, strict=True)}
        assert_near(session.run(["scores"], arrays)[0], by_hand(net, fields))


@pytest.mark.slow
@pytest.mark.parametrize("form", [form for form in FORMS if form != "vgg16_whole"])
def test_program_gives_the_nets_scores_at_any_size(form, tmp_path):
    net = stored_net(FORMS[form])
    path = tmp_path / "net.pt2"
    print(form, formats.write_program(path, net, FACTS))
    facts = {"fcnexp": ""}
    program = torch.export.load(path, extra_files=facts).module(check_guards=False)
    for size in sizes_for(json.loads(facts["fcnexp"])["least_side"]):
        fields = made_up(net.recipe, *size)
        assert_near(program(*fields).numpy(), by_hand(net, fields))


@pytest.mark.parametrize("write", [formats.write_onnx, formats.write_program])
@pytest.mark.parametrize("shared", ["true", "false"])
def test_shift_and_stitch_is_refused_and_an_alternative_is_named(write, shared, tmp_path):
    net = stored_net([NARROW, "model=fcn32s", "dense=shift_and_stitch", f"dense.shared={shared}"])
    with pytest.raises(ExportError, match="dense=rarefaction init=checkpoint"):
        write(tmp_path / "net.onnx", net, FACTS)
    assert not list(tmp_path.iterdir())


def test_weights_beyond_onnxs_limit_are_refused(tmp_path):
    with torch.device("meta"):
        net = stored_net([NARROW, "model=fcn32s", "init=scratch"])
        net.net.register_buffer("more", torch.zeros(2**29))  # 2 GiB on the meta device
    with pytest.raises(ExportError, match=r"weights of 2.0 GiB.*format=torch_export"):
        formats.write_onnx(tmp_path / "net.onnx", net, FACTS)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (
            lambda scores, labels: [scores * 1.0002, labels],
            "scores differ from the net's by 2.0e-04",
        ),
        (lambda scores, labels: [scores * float("nan"), labels], "by nan"),
        (lambda scores, labels: [scores, labels ^ 1], "labels are not the argmax"),
        (lambda scores, labels: [scores[..., :-1], labels], r"gave .*64\).* instead of .*65\)"),
        (lambda scores, labels: 1 / 0, r"fails at \(.*\): division by zero"),
    ],
)
def test_compare_finds_faults_in_a_file(fault, text):
    net = stored_net([NARROW, "model=fcn32s"], labels=True).requires_grad_(False)
    with pytest.raises(ExportError, match=f"x.onnx: not written; .*{text}"):
        compare(net, lambda fields: fault(*net(*fields)), 1, "x.onnx")
    assert "by at most 0.0e+00" in compare(net, lambda fields: list(net(*fields)), 1, "x.onnx")


@pytest.mark.parametrize(
    ("size", "holds"), [((1, 1), False), ((2, 9), False), ((3, 3), True), ((3, 2), False)]
)
def test_finds_is_true_if_a_map_holds_a_window_of_the_pooling(size, holds):
    from fcnexp.nn.pooling import MaxPool

    pool = MaxPool(4, 2)  # a window may extend one cell beyond the map
    assert pool.finds(size) == holds
