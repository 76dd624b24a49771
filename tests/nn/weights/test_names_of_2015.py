"""Files of CVPR 2015: other layer names, learned upsampling by 2, one of them with a bias."""

import numpy as np
import pytest
import torch

from fcnexp.build import network
from fcnexp.errors import WeightsError
from fcnexp.nn.backbones import vgg
from fcnexp.nn.dense.upsampling import bilinear_kernel, diagonal
from fcnexp.nn.fast import border
from fcnexp.nn.weights.caffe_names import blobs
from fcnexp.nn.weights.surgery import load_blobs

THIN = ((4, 2), (4, 2), (6, 3), (8, 3), (8, 3))  # of VGG16's blocks: channels, convolutions
NET = ["backbone=vgg16", "head.channels=5", "model=fcn8s", "dense=deconv_learned"]
NAMES = {  # fcn-8s-pascal's
    "score_fr": "score-fr",
    "upscore2": "score2",
    "score_pool4": "score-pool4",
    "upscore_pool4": "score4",
    "score_pool3": "score-pool3",
    "upscore8": "upsample",
}
CONTEXT = {"score-fr": "score59", "score2": "upscore2", "score4": "upsample-fused-16"}
IMAGE = {"rgb": torch.randn(1, 3, 65, 97, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(autouse=True)
def thin(monkeypatch):
    for module in (vgg, border):
        monkeypatch.setattr(module, "BLOCKS", THIN)


def made_up() -> tuple[dict[str, list[np.ndarray]], dict[str, list[np.ndarray]]]:
    """A file by the later names without the bias, and the same file as in 2015."""
    rng = np.random.default_rng(0)
    net = network(NET)
    found = {
        name: [rng.normal(0, 1 / t[0].numel() ** 0.5, t.shape) for t in tensors]
        for name, tensors in blobs(net).items()
    }
    classes = len(found["score_fr"][1])
    found["upscore8"] = [diagonal(bilinear_kernel(16), classes).numpy()]
    today = {name: [b.astype(np.float32) for b in each] for name, each in found.items()}
    old = {NAMES.get(name, name): each for name, each in today.items()}
    return today, old


@torch.inference_mode()
def scores_of(blobs_by_layer: dict[str, list[np.ndarray]], *overrides: str):
    net = network([*NET, *overrides])
    report = load_blobs(net, blobs_by_layer)
    return net(IMAGE), report


@pytest.mark.parametrize("more", [{}, CONTEXT], ids=["pascal", "pascalcontext"])
def test_old_names_give_the_scores_of_the_new(more):
    today, old = made_up()
    expected, _ = scores_of(today)
    scores, report = scores_of({more.get(name, name): each for name, each in old.items()})
    assert torch.equal(scores, expected) and expected.std() > 0
    assert not report.new and not report.unused and report.checked == ["upscore8"]
    assert report.renamed["score_fr"] == more.get("score-fr", "score-fr")
    assert report.renamed["upscore_pool4"] == more.get("score4", "score4")


def test_the_bias_of_score2_is_added_where_it_is_summed():
    """A transposed convolution's bias shifts its whole output, which the skip is added to."""
    _, old = made_up()
    bias = np.linspace(-3, 3, len(old["score-fr"][1])).astype(np.float32)
    old["score2"].append(bias)
    old["upsample"].append(np.zeros_like(bias))
    scores, report = scores_of(old)
    assert not report.new and not report.unused
    net = network(NET)
    load_blobs(net, {name: each[:1] if name == "score2" else each for name, each in old.items()})
    doubled = net.scorers()["rgb"].upsamplings()["upscore2"]
    doubled.register_forward_hook(lambda _, __, out: out + torch.from_numpy(bias)[:, None, None])
    with torch.inference_mode():
        expected = net(IMAGE)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    assert (scores - scores_of(made_up()[1])[0]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("kernel", "model", "name"),
    [(64, "fcn32s", "upscore"), (63, "fcn32s", "upscore"), (32, "fcn16s", "upscore16")],
)
def test_the_kernel_tells_which_upsampling_upsample_is(kernel, model, name):
    today, old = made_up()
    used = {"fcn32s": ("score-fr",), "fcn16s": ("score-fr", "score2", "score-pool4")}[model]
    kept = {n: each for n, each in old.items() if n in today or n in used}
    blob = diagonal(bilinear_kernel(kernel), len(old["score-fr"][1])).numpy()
    net = network([*NET, f"model={model}"])
    if kernel == 63:  # AlexNet's
        with pytest.raises(WeightsError, match="layer upscore is fixed in this net"):
            load_blobs(net, kept | {"upsample": [blob]})
        return
    report = load_blobs(net, kept | {"upsample": [blob]})
    assert report.checked == [name] and not report.new and not report.unused


def test_learned_kernels_need_a_net_that_learns_them():
    with pytest.raises(WeightsError, match=r"layer upscore2 is fixed.*choose dense=deconv_learned"):
        scores_of(made_up()[1], "dense=deconv_fixed")


def test_a_bias_with_nowhere_to_go_is_refused():
    _, old = made_up()
    old["upsample"].append(np.ones(len(old["score-fr"][1]), np.float32))
    with pytest.raises(WeightsError, match="layer upsample has a bias"):
        scores_of(old)


def test_a_file_with_more_skips_than_the_net_is_refused():
    with pytest.raises(WeightsError, match=r"layers that this net has not \(score_pool4, "):
        scores_of({n: b for n, b in made_up()[1].items() if n != "upsample"}, "model=fcn32s")
