"""Upsampling of scores, fixed, learned and by cell position: all three start out the same."""

import pytest
import torch
import torch.nn.functional as F
from dense_nets import picture, randomise

from fcnexp.build import network
from fcnexp.errors import ConfigError, WeightsError
from fcnexp.nn.backbones.base import Tap
from fcnexp.nn.dense.interpolation import Interpolation
from fcnexp.nn.dense.upsampling import Upsampling, bilinear_kernel
from fcnexp.nn.fast.switches import plain
from fcnexp.nn.fuse import Skip
from fcnexp.nn.geometry import IMAGE, Grid
from fcnexp.nn.layers import LocalResponseNorm
from fcnexp.nn.streams import LateFusion
from fcnexp.nn.weights.caffe_names import blobs
from fcnexp.nn.weights.checkpoints import parent_weights
from fcnexp.nn.weights.surgery import load_blobs
from fcnexp.task.optim import KINDS, parameter_groups

NARROW = "backbone.widths=[4,4,6,6,8,8]"


def random_net(*overrides: str):
    return randomise(network([NARROW, *overrides]))


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_fixed_transposed_convolution_equals_torchs_resize(factor):
    """In float32, for even kernels, except at the border, where torch repeats the last cell."""
    coarse = Grid(factor, (factor - 1) / 2)  # cells in the middle of their blocks, as in torch
    scores = torch.randn(1, 3, 6, 7)
    size = (6 * factor, 7 * factor)
    layer = Upsampling(3, coarse, factor, IMAGE, edges="zeros", learned=False)
    found = layer(scores, (0, 0), size)
    expected = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    assert (found - expected)[inner].abs().max() <= 1e-6 * scores.abs().max()


@pytest.mark.parametrize("factor", [2, 4, 32])
def test_odd_kernels_equal_torchs_resize(factor):
    """Cells on pixels, as for AlexNet and GoogLeNet: torch's `align_corners`."""
    scores = torch.randn(1, 3, 6, 7)
    size = (5 * factor + 1, 6 * factor + 1)
    layer = Upsampling(3, Grid(factor), factor, IMAGE, edges="zeros", learned=False)
    assert layer.kernel_size == 2 * factor - 1
    expected = F.interpolate(scores, size=size, mode="bilinear", align_corners=True)
    found = layer(scores, (0, 0), size)
    assert (found - expected).abs().max() <= 1e-6 * scores.abs().max()


@pytest.mark.parametrize("backbone", ["tiny", "alexnet", "googlenet", "resnet18"])
@pytest.mark.parametrize("model", ["fcn32s", "fcn8s"])
@torch.inference_mode()
def test_interpolation_by_position_equals_the_fixed_kernel(backbone, model):
    narrow = [NARROW] if backbone == "tiny" else []
    choice = [f"backbone={backbone}", f"model={model}", "head=linear", *narrow]
    fixed = randomise(network([*choice, "dense=deconv_fixed", "dense.edges=repeat"])).double()
    placed = randomise(network([*choice, "dense=bilinear"])).double()
    grid, image = placed.net.scorer.grid, picture(75, 66)
    if backbone == "alexnet" and model == "fcn8s":  # with zero edges its skips are cropped
        fixed.net.scorer = placed.net.scorer
    expected = fixed.net.dense.upsampling(placed.net.scorer(image), (0, 0), (75, 66))
    torch.testing.assert_close(placed({"rgb": image}), expected)
    assert grid.step > 1


WINDOWS = [  # factor, position of the first cell, edges, window of the target, its size
    (2, 0.5, "zeros", (0, 0), (9, 12)),
    (2, 0.5, "repeat", (1, 3), (14, 10)),
    (8, 3.5, "zeros", (0, 0), (40, 48)),
    (8, -27.5, "zeros", (0, 0), (15, 20)),
    (8, 3.5, "repeat", (-3, 5), (47, 50)),
    (4, 0.0, "zeros", (2, 1), (15, 16)),
    (4, 7.0, "repeat", (0, 0), (33, 30)),
    (32, -18.0, "zeros", (0, 0), (70, 100)),
]


@pytest.mark.parametrize(("factor", "origin", "edges", "first", "size"), WINDOWS)
def test_fast_upsampling_equals_the_dense_transposed_convolution(
    factor, origin, edges, first, size
):
    """Scores and gradients of the matrix product, the grouped and the dense convolution."""
    layer = Upsampling(3, Grid(factor, origin), factor, IMAGE, edges=edges, learned=False)
    scores = torch.randn(2, 3, 5, 6, dtype=torch.float64)
    pull = torch.randn(2, 3, *size, dtype=torch.float64)
    found = []
    for ways in ([], ["upsampling"]):
        with plain(ways):
            own = scores.clone().requires_grad_()
            dense = layer(own, first, size)
            dense.backward(pull)
            found += [(dense.detach(), own.grad), (layer(scores, first, size), own.grad)]
    for dense, gradient in found:
        torch.testing.assert_close(dense, found[-1][0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradient, found[-1][1], rtol=1e-12, atol=1e-12)


def test_fixed_upsampling_in_training_runs_no_transposed_convolution(monkeypatch):
    layer = Upsampling(3, Grid(8, 3.5), 8, IMAGE, edges="zeros", learned=False)
    scores = torch.randn(1, 3, 5, 6, requires_grad=True)
    monkeypatch.setattr(F, "conv_transpose2d", None)
    assert layer(scores, (0, 0), (40, 48)).shape == (1, 3, 40, 48)
    with pytest.raises(TypeError), plain(["upsampling"]):
        layer(scores, (0, 0), (40, 48))


def test_factor_1_shifts_a_map_by_at_most_half_a_cell():
    scores = torch.randn(1, 2, 5, 6)
    same = Upsampling(2, Grid(1, -2), 1, IMAGE, edges="repeat", learned=False)
    assert torch.equal(same(scores, (0, 0), (3, 4)), scores[..., 2:, 2:])
    between = Upsampling(2, Grid(1, -0.5), 1, IMAGE, edges="repeat", learned=False)
    quarter = scores[..., :-1, :-1] + scores[..., 1:, :-1] + scores[..., :-1, 1:]
    expected = (quarter + scores[..., 1:, 1:]) / 4
    torch.testing.assert_close(between(scores, (0, 0), (4, 5)), expected)


@pytest.mark.parametrize("learned", ["skips", "all"])
def test_learned_interpolation_starts_at_the_fixed_one(learned):
    """Training then changes exactly the kernels that `dense.learned` selects."""
    fixed = random_net("dense=deconv_fixed")
    net = network([NARROW, "dense=deconv_learned", f"dense.learned={learned}"])
    net.load_state_dict(fixed.state_dict(), strict=False)
    image = {"rgb": torch.randn(2, 3, 40, 52)}
    torch.testing.assert_close(net(image), fixed(image), rtol=1e-5, atol=1e-6)
    kernels = {name: p for name, p in net.named_parameters() if name.endswith("upsampling.kernel")}
    expected = ["net.scorer.skips.16.upsampling.kernel", "net.scorer.skips.8.upsampling.kernel"]
    assert list(kernels) == expected + ["net.dense.upsampling.kernel"] * (learned == "all")
    before = {name: p.detach().clone() for name, p in kernels.items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    F.cross_entropy(net(image), torch.randint(8, (2, 40, 52))).backward()
    optimizer.step()
    for name, kernel in kernels.items():
        moved = (kernel - before[name]).abs().amax((2, 3))
        assert (moved > 0).all()  # between different classes, too


def test_learned_kernels_are_in_one_parameter_group():
    net = network([NARROW, "dense=deconv_learned"])
    wires = {"new": [], "scores": net.score_layers(), "lr": 1.0, "weight_decay": 0.0, "new_lr": 1.0}
    groups = parameter_groups(net, multipliers=dict.fromkeys(KINDS, (1, 1)), **wires)
    weights = next(g["params"] for g in groups if g["name"] == "weight")
    kernel = net.net.scorer.skips["8"].upsampling.kernel
    assert sum(any(p is kernel for p in g["params"]) for g in groups) == 1
    assert any(p is kernel for p in weights)


def test_learned_kernels_are_loaded_from_a_file_or_stay_bilinear_with_a_classifiers_file():
    """If trained, upscore2 and upscore_pool4 are loaded like any other blob."""
    net = network(["backbone=alexnet", "head.channels=4", "dense=deconv_learned", "data=voc"])
    own = {n: [t.detach().numpy().copy() for t in tensors] for n, tensors in blobs(net).items()}
    assert own["upscore2"][0].shape[:2] == (21, 21)
    filled = {name: [array + 1 for array in arrays] for name, arrays in own.items()}
    assert "upscore2" in load_blobs(net, filled).copied
    kernel = net.net.scorer.skips["16"].upsampling.kernel
    assert torch.equal(kernel, torch.from_numpy(filled["upscore2"][0]))
    classifier = {n: a for n, a in own.items() if not n.startswith(("score", "upscore"))}
    fresh = network(["backbone=alexnet", "head.channels=4", "dense=deconv_learned", "data=voc"])
    report = load_blobs(fresh, classifier)
    assert {"upscore2", "upscore_pool4"} <= set(report.new)
    size = fresh.net.scorer.skips["16"].upsampling.kernel.shape[-1]
    started = fresh.net.scorer.skips["16"].upsampling.kernel[3, 3]
    assert torch.equal(started, bilinear_kernel(size))


def test_unknown_values_of_learned_are_refused():
    with pytest.raises(ConfigError, match="dense.learned=some: allowed are none, skips, all"):
        network([NARROW, "dense=deconv_learned", "dense.learned=some"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.trained=scores", "dense=deconv_learned"],
            "model.trained=scores: trains only the score layers",
        ),
        (
            ["model=fcn32s_fixed", "dense=deconv_d2l"],
            "model.trained=scores: trains only the score layers",
        ),
        (
            ["experiment=siftflow_fcn8s", "init=scratch", "dense=deconv_learned"],
            "would mix the tasks sem, geo; choose dense=deconv_fixed",
        ),
    ],
)
def test_learned_upsampling_is_refused_for_nets_that_cannot_train_it(overrides, message):
    narrow = [] if overrides[0].startswith("experiment") else [NARROW]
    with pytest.raises(ConfigError, match=message):
        network([*narrow, *overrides])


def test_a_net_without_upsampling_to_learn_logs_that(caplog):
    with caplog.at_level("INFO"):
        network([NARROW, "model=fcn32s_fixed", "dense=deconv_learned"])
    assert (
        "dense.learned=skips: no effect, since this net has no skips to interpolate" in caplog.text
    )


def test_checkpoints_of_fixed_upsampling_load_into_learned_but_not_the_reverse():
    """Untrained kernels start bilinear; trained kernels are never dropped silently."""
    learned = [NARROW, "dense=deconv_learned", "dense.learned=all"]
    fixed, net = random_net(), network(learned)
    stored = {"state_dict": {f"net.{n}": t for n, t in fixed.state_dict().items()}}
    new = parent_weights(net, stored, "fixed.ckpt")
    assert sorted(new) == sorted(n for n in net.state_dict() if n.endswith("upsampling.kernel"))
    image = {"rgb": torch.randn(1, 3, 40, 52)}
    torch.testing.assert_close(net(image), fixed(image), rtol=1e-5, atol=1e-6)
    stored = {"state_dict": {f"net.{n}": t for n, t in net.state_dict().items()}}
    with pytest.raises(WeightsError, match="a.ckpt: its upsampling was trained .*deconv_learn"):
        parent_weights(fixed, stored, "a.ckpt")


def test_nets_with_learned_skip_upsampling_are_not_rarefied():
    from fcnexp.nn.dense.rarefaction import rarefy

    with pytest.raises(ValueError, match="learned upsampling in its skips cannot be rarefied"):
        rarefy(network([NARROW, "dense=deconv_learned"]), 1)


@pytest.mark.parametrize("backbone", ["tiny", "alexnet"])
@torch.inference_mode()
def test_fusion_by_maximum(backbone):
    """Each cell is the larger of the upsampled coarse score and the tap's score."""
    narrow = [NARROW] if backbone == "tiny" else ["head=linear"]
    net = randomise(network([f"backbone={backbone}", "model.fusion=max", *narrow]))
    added = network([f"backbone={backbone}", *narrow])
    added.load_state_dict(net.state_dict())
    maps = net.net.scorer.backbone(torch.randn(1, 3, 60, 70))
    coarse = net.net.scorer.head(maps[32])
    zero = [torch.zeros_like(coarse), torch.zeros_like(maps[16])]
    skip, plain = net.net.scorer.skips["16"], added.net.scorer.skips["16"]
    doubled = plain(coarse, zero[1]) - plain(zero[0], zero[1])
    tap = plain(zero[0], maps[16])
    torch.testing.assert_close(
        skip(coarse, maps[16]), torch.maximum(doubled + 0, tap), atol=1e-4, rtol=1e-4
    )


def check(function, *inputs):
    assert torch.autograd.gradcheck(function, [x.double().requires_grad_() for x in inputs])


def upsampling(edges: str, *, learned: bool = False) -> Upsampling:
    return Upsampling(2, Grid(4, 1.5), 4, IMAGE, edges=edges, learned=learned).double()


@pytest.mark.parametrize("edges", ["zeros", "repeat"])
def test_gradient_of_the_fixed_transposed_convolution_and_its_crop(edges):
    layer = upsampling(edges)
    check(lambda scores: layer(scores, (2, 1), (9, 11)), torch.randn(1, 2, 3, 4))


@pytest.mark.parametrize("edges", ["zeros", "repeat"])
def test_gradient_of_the_learned_transposed_convolution_and_its_crop(edges):
    layer = upsampling(edges, learned=True)

    def dense(scores, kernel):
        wires = (scores, (2, 1), (5, 6))
        return torch.func.functional_call(layer, {"kernel": kernel}, wires)

    check(dense, torch.randn(1, 2, 2, 2), layer.kernel.detach() + 0.1)


def test_gradient_of_the_interpolation_by_position():
    layer = Interpolation(Grid(4, 1.2))
    check(lambda scores: layer(scores, (9, 11)), torch.randn(1, 2, 3, 3))


@pytest.mark.parametrize("fusion", ["sum", "max"])
@pytest.mark.parametrize("edges", ["zeros", "repeat"])
def test_gradient_of_fusion(fusion, edges):
    wires = (Grid(4, 1.5), Tap(3, Grid(2, 0.5)), 2)
    make = lambda *w: Upsampling(*w, edges=edges, learned=False)  # noqa: E731  # a factory
    skip = Skip(*wires, make, fusion=fusion, scale=0.5).double()
    check(skip, torch.randn(1, 2, 3, 3), torch.randn(1, 3, 6, 5))


def test_gradient_of_late_fusion():
    streams = {"rgb": torch.nn.Conv2d(2, 2, 3), "hha": torch.nn.Conv2d(1, 2, 3)}
    check(LateFusion(streams, (2, 1)).double(), torch.randn(1, 3, 4, 5))


def test_gradient_of_response_normalisation():
    layer = LocalResponseNorm().double()
    check(lambda maps: layer(100 * maps), torch.randn(1, 6, 2, 3))
