"""Rarefied nets: the same filters applied at more positions."""

import pytest
import torch
from dense_nets import Unpadded, picture, randomise, scorer

from fcnexp import build
from fcnexp.build import network
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError
from fcnexp.nn.dense.rarefaction import rarefy
from fcnexp.nn.inspection.trace import trace

NARROW = {"tiny": ["backbone.widths=[4,4,6,6,8,8]"]}
BACKBONES = ["tiny", "alexnet", "googlenet", "resnet18", "vgg16"]


def coarse(backbone: str, *overrides: str):
    """Float64 FCN-32s with random weights and its score layer on the deepest map."""
    narrow = NARROW.get(backbone, [])
    return randomise(
        network([f"backbone={backbone}", "model=fcn32s", "head=linear", *narrow, *overrides])
    ).double()


@pytest.mark.parametrize(
    ("backbone", "stride"), [(b, 8) for b in BACKBONES] + [("tiny", 1), ("alexnet", 2)]
)
@torch.inference_mode()
def test_cells_of_the_plain_net_keep_their_scores(backbone, stride):
    """Including borders and pools that round up; the new cells lie between them."""
    net = coarse(backbone).net.scorer
    image = picture(33, 70)
    plain, dense = net(image), rarefy(net, stride)(image)
    step = 32 // stride
    torch.testing.assert_close(dense[..., ::step, ::step], plain, rtol=1e-9, atol=1e-9)
    assert (dense.shape[-1] - 1) // step + 1 == plain.shape[-1]
    assert dense.shape[-1] > plain.shape[-1]


@pytest.mark.parametrize("size", [(1, 1), (2, 31), (40, 33), (64, 65)])
@torch.inference_mode()
def test_cells_of_the_plain_net_keep_their_scores_at_any_size(size):
    net = coarse("tiny").net.scorer
    image = picture(*size)
    dense = rarefy(net, 1)(image)[..., ::32, ::32]
    torch.testing.assert_close(dense, net(image), rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_head_with_a_window_keeps_its_scores():
    net = coarse("vgg16", "head=fc", "head.channels=8").net.scorer
    image = picture(40, 70)
    dense = rarefy(net, 8)(image)[..., ::4, ::4]
    torch.testing.assert_close(dense, net(image), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", [32, 64])
@torch.inference_mode()
def test_rarefying_to_the_nets_own_stride_is_the_identity(stride):
    net = coarse("alexnet")
    image = picture(80, 99)
    assert torch.equal(rarefy(net, stride)({"rgb": image}), net({"rgb": image}))


def test_weights_are_shared_and_the_plain_net_stays_unchanged():
    net = coarse("googlenet")
    image = {"rgb": picture(40, 40)}
    with torch.inference_mode():
        before = net(image)
    dense = rarefy(net, 8)
    assert [id(p) for p in dense.parameters()] == [id(p) for p in net.parameters()]
    with torch.inference_mode():
        assert torch.equal(net(image), before)
    before = dense(image).sum().item()
    with torch.no_grad():
        net.scorers()["rgb"].head.score_fr.bias += 1
    assert dense(image).sum().item() == pytest.approx(before + 8 * 40 * 40)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_receptive_field_and_parameters_stay(backbone):
    """As reported by `explain`."""
    reported = []
    for dense in ("deconv_fixed", "rarefaction"):
        overrides = [f"backbone={backbone}", "model=fcn32s", f"dense={dense}"]
        net, inputs = build.on_meta(compose_run(overrides), {"class": 8}, (65, 97))
        maps = trace(net, inputs)
        score = next(each for each in maps if each.name == "score_fr")
        fraction = score.grid.origin % 1  # trimming moves the origin by whole cells
        reported.append((score.receptive_field, fraction, sum(m.parameters for m in maps)))
        assert score.grid.step == (32 if dense == "deconv_fixed" else 1)
    assert reported[0] == reported[1]


@torch.inference_mode()
def test_skips_of_a_rarefied_net_are_summed_without_interpolation():
    """At stride 1 the scores are the cell-by-cell sum of three rarefied score maps."""
    net = randomise(network(["model=fcn8s", *NARROW["tiny"]])).double().net.scorer
    image = picture(40, 52)
    dense = rarefy(net, 1)
    taps = dense.backbone(image)
    origins = {stride: tap.grid.origin for stride, tap in dense.backbone.taps.items()}
    expected = dense.head(taps[32])
    for stride in (16, 8):
        first = int(origins[32] - origins[stride])  # finer cells before the coarsest one
        fine = dense.skips[str(stride)].score(taps[stride])[..., first:, first:]
        height, width = fine.shape[-2:]
        expected = expected[..., :height, :width] + fine
    first = int(origins[32] - origins[8])
    height, width = expected.shape[-2:]
    found = dense(image)[..., first : first + height, first : first + width]
    torch.testing.assert_close(found, expected)


@torch.inference_mode()
def test_a_skip_nets_coarser_maps_are_rarefied_to_a_stride_above_its_own():
    net = randomise(network(["model=fcn8s", *NARROW["tiny"]])).double()
    dense = rarefy(net, 16).net.scorer
    assert [tap.grid.step for tap in dense.backbone.taps.values()] == [1, 2, 4, 8, 16, 16]
    assert dense.grid.step == 8


def test_gradients_reach_every_weight():
    net = rarefy(scorer(Unpadded(4)), 1)
    image = picture(14, 13)
    names, tensors = zip(*net.named_parameters(), strict=True)

    def scores(*values):
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (image,))

    assert torch.autograd.gradcheck(scores, tensors)


@pytest.mark.parametrize(("stride", "hint"), [(3, "1, 2, 4, 8, 16, 32"), (0, "to stride 1, 2")])
def test_other_strides_are_refused(stride, hint):
    with pytest.raises(ConfigError, match=f"dense: stride={stride}: .*{hint}"):
        network(["model=fcn32s", "dense=rarefaction", f"dense.stride={stride}"])


METHODS = {
    "rarefaction": ["dense.stride=4"],
    "shift_and_stitch": ["dense.stride=4"],
    "shift_and_stitch one by one": ["dense.stride=8", "dense.shared=false"],
    "bilinear": [],
    "deconv_learned": [],
}


@pytest.mark.parametrize("dense", METHODS)
@pytest.mark.parametrize("backbone", ["tiny", "alexnet", "googlenet", "resnet18"])
@pytest.mark.parametrize("model", ["fcn32s", "fcn8s"])
@torch.inference_mode()
def test_every_dense_method_returns_the_images_size(dense, backbone, model):
    narrow = [*NARROW.get(backbone, []), "head=linear", f"model={model}"]
    method = [f"dense={dense.split()[0]}", *METHODS[dense]]
    net = network([f"backbone={backbone}", *narrow, *method])
    for size in ((1, 1), (2, 40), (33, 50)):
        scores = net({"rgb": torch.zeros(2, 3, *size)})
        assert scores.shape == (2, 8, *size) and scores.isfinite().all()


@torch.inference_mode()
def test_shifts_of_an_image_smaller_than_fc6s_window():
    choice = ["backbone=vgg16_bn", "head=fc", "head.channels=4", "model=fcn32s"]
    net = network([*choice, "dense=shift_and_stitch", "dense.stride=16", "dense.shared=false"])
    assert net({"rgb": torch.zeros(1, 3, 64, 64)}).shape == (1, 8, 64, 64)


def test_nets_with_learned_last_upsampling_are_not_rarefied():
    net = network([*NARROW["tiny"], "dense=deconv_learned", "dense.learned=all"])
    with pytest.raises(ValueError, match="a net with learned upsampling cannot be rarefied"):
        rarefy(net, 1)
