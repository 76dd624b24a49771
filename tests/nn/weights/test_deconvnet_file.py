"""DeconvNet's released file: every layer under the authors' names, and the scores of its net."""

import numpy as np
import pytest
import torch
from caffe_files import write_caffemodel_v1

from fcnexp.build import network
from fcnexp.errors import WeightsError
from fcnexp.nn.backbones import vgg
from fcnexp.nn.weights.surgery import load_blobs

WIDTHS = (4, 4, 6, 8, 8)  # of VGG16's blocks, instead of 64 to 512
DEPTHS = (2, 2, 3, 3, 3)
FC = 5  # channels of fc6 and fc7
# The authors' names, from their script that makes the released file.
ENCODER = [f"{b}_{i}" for b in range(1, 6) for i in range(1, DEPTHS[b - 1] + 1)]
DECODER = [f"{b}_{i}" for b in range(5, 0, -1) for i in range(1, DEPTHS[b - 1] + 1)]
NORM_OF = {
    **{f"conv{n}": f"bn{n}" for n in ENCODER},
    **{"fc6": "bnfc6", "fc7": "bnfc7", "fc6-deconv": "fc6-deconv-bn"},
    **{f"deconv{n}": f"debn{n}" for n in DECODER},
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Shape of each layer's weights, in Caffe's order of axes."""
    found, before = {}, 3
    for name in ENCODER:
        width = WIDTHS[int(name[0]) - 1]
        found[f"conv{name}"] = (width, before, 3, 3)
        before = width
    found |= {"fc6": (FC, before, 7, 7), "fc7": (FC, FC, 1, 1), "fc6-deconv": (FC, before, 7, 7)}
    for name in DECODER:
        block, i = map(int, name.split("_"))
        width = WIDTHS[block - 2] if i == DEPTHS[block - 1] and block > 1 else WIDTHS[block - 1]
        found[f"deconv{name}"] = (before, width, 3, 3)
        before = width
    return found | {"seg-score-voc": (21, before, 1, 1)}


def made_up(seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Blobs of the released form: after each convolution, a scale and a shift (1, C, 1, 1)."""
    rng, blobs = np.random.default_rng(seed), {}
    for name, shape in shapes().items():
        channels = shape[1] if "deconv" in name else shape[0]
        spread = (2 / (np.prod(shape) / channels)) ** 0.5
        blobs[name] = [rng.normal(0, spread, shape), rng.normal(0, 0.1, channels)]
        if name in NORM_OF:
            each = (1, channels, 1, 1)
            blobs[NORM_OF[name]] = [rng.uniform(0.7, 1.4, each), rng.normal(0, 0.2, each)]
    return {name: [b.astype(np.float32) for b in found] for name, found in blobs.items()}


def convolution(maps: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int) -> np.ndarray:
    size = weight.shape[-1]
    maps = np.pad(maps, ((0, 0), (pad, pad), (pad, pad)))
    height, width = (side - size + 1 for side in maps.shape[1:])
    out = np.zeros((len(weight), height, width)) + bias[:, None, None]
    for i in range(size):
        for j in range(size):
            window = maps[:, i : i + height, j : j + width]
            out += np.tensordot(weight[:, :, i, j], window, 1)
    return out


def transposed(maps: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int) -> np.ndarray:
    """Each cell adds its multiple of the kernel, weight (in, out, k, k), to the output."""
    size = weight.shape[-1]
    height, width = maps.shape[1:]
    out = np.zeros((weight.shape[1], height + size - 1, width + size - 1))
    for i in range(size):
        for j in range(size):
            out[:, i : i + height, j : j + width] += np.tensordot(weight[:, :, i, j].T, maps, 1)
    whole = slice(pad, out.shape[1] - pad), slice(pad, out.shape[2] - pad)
    return out[:, *whole] + bias[:, None, None]


def slow_scores(image: np.ndarray, blobs: dict[str, list[np.ndarray]]) -> np.ndarray:
    """Scores (21, H, W) of an image (3, H, W) with sides of multiples of 32, in float64."""

    def layer(name: str, maps: np.ndarray, pad: int) -> np.ndarray:
        step = transposed if "deconv" in name else convolution
        maps = step(maps, *(blob.astype(float) for blob in blobs[name]), pad)
        scale, shift = (blob.astype(float).reshape(-1, 1, 1) for blob in blobs[NORM_OF[name]])
        return np.maximum(maps * scale + shift, 0)

    found, maps = [], image.astype(float)
    for number, depth in enumerate(DEPTHS, start=1):
        for i in range(1, depth + 1):
            maps = layer(f"conv{number}_{i}", maps, 1)
        c, h, w = maps.shape
        cells = maps.reshape(c, h // 2, 2, w // 2, 2).transpose(0, 1, 3, 2, 4).reshape(c, -1, 4)
        found.append(cells.argmax(2))
        maps = cells.max(2).reshape(c, h // 2, w // 2)
    maps = layer("fc6-deconv", layer("fc7", layer("fc6", maps, 0), 0), 0)
    for number in range(5, 0, -1):
        c, h, w = maps.shape
        cells = np.zeros((c, h * w, 4))
        np.put_along_axis(cells, found[number - 1][:, :, None], maps.reshape(c, -1, 1), 2)
        maps = cells.reshape(c, h, w, 2, 2).transpose(0, 1, 3, 2, 4).reshape(c, 2 * h, 2 * w)
        for i in range(1, DEPTHS[number - 1] + 1):
            maps = layer(f"deconv{number}_{i}", maps, 1)
    return convolution(maps, *(blob.astype(float) for blob in blobs["seg-score-voc"]), 0)


@pytest.fixture(autouse=True)
def thin(monkeypatch):
    monkeypatch.setattr(vgg, "BLOCKS", tuple(zip(WIDTHS, DEPTHS, strict=True)))


NET = ["experiment=voc_deconvnet", f"head.channels={FC}"]


def loaded(blobs: dict[str, list[np.ndarray]], *overrides: str):
    net = network([*NET, "init=scratch", *overrides])
    return net, load_blobs(net, blobs)


IMAGE = np.random.default_rng(1).normal(0, 1, (3, 224, 224)).astype(np.float32)


@torch.inference_mode()
def scores_of(net: torch.nn.Module) -> np.ndarray:
    return net({"rgb": torch.from_numpy(IMAGE)[None]})[0].double().numpy()


def test_every_blob_of_the_released_form_is_used_and_listed():
    blobs = made_up()
    _, report = loaded(blobs)
    assert len(blobs) == 59 and len(NORM_OF) == 29
    names = (set(blobs) - {"seg-score-voc"}) | {"score_fr"}
    assert set(report.copied) == names and len(report.copied) == 59
    assert not report.new and not report.unused
    assert report.renamed == {"score_fr": "seg-score-voc"}


def test_the_file_gives_the_scores_of_a_slow_net(tmp_path):
    blobs = made_up()
    path = tmp_path / "DeconvNet_trainval_inference.caffemodel"
    write_caffemodel_v1(path, blobs)
    net = network([*NET, "init=caffemodel", f"init.path={path}"])
    expected = slow_scores(IMAGE, blobs)
    assert expected.std() > 0.1 and len(np.unique(expected.argmax(0))) > 3
    assert np.abs(scores_of(net) - expected).max() < 1e-5 * np.abs(expected).max()


FOLDED = made_up()


def with_statistics(form: str) -> dict[str, list[np.ndarray]]:
    """The same net with means and variances, as other versions of Caffe store them."""
    rng, blobs = np.random.default_rng(2), dict(FOLDED)
    for layer, name in NORM_OF.items():
        scale, shift = blobs.pop(name)
        mean = rng.normal(0, 1, scale.shape).astype(np.float32)
        variance = rng.uniform(0.5, 2, scale.shape).astype(np.float32)
        root = np.sqrt(variance + 1e-5)
        affine = [scale * root, shift + mean * scale]
        if form == "one layer":
            blobs[name] = [*affine, mean, variance]
            continue
        factor = np.array([4], np.float32)
        statistics = [mean.ravel() * 4, variance.ravel() * 4, factor]
        norm, after = {
            "names of ResNet": (f"bn_{layer}", f"scale_{layer}"),
            "DeconvNet's names": (name, name.replace("bn", "scale")),
            "names by layer": (f"{layer}/bn", f"{layer}/scale"),
        }[form]
        blobs |= {norm: statistics, after: [blob.ravel() for blob in affine]}
    return blobs


@pytest.mark.parametrize(
    "form", ["one layer", "names of ResNet", "DeconvNet's names", "names by layer"]
)
def test_all_ways_to_store_batch_normalisation_give_the_same_scores(form):
    net, report = loaded(with_statistics(form))
    expected = scores_of(loaded(FOLDED)[0])
    assert not report.new and not report.unused
    assert np.abs(scores_of(net) - expected).max() < 1e-5 * np.abs(expected).max()


def changed(name: str, *blobs: np.ndarray) -> dict[str, list[np.ndarray]]:
    """A file with other blobs in one layer, or without it."""
    rest = {n: found for n, found in FOLDED.items() if n != name}
    return rest | ({name: list(blobs)} if blobs else {})


ONE = np.ones((1, 4, 1, 1), np.float32)


@pytest.mark.parametrize(
    ("blobs", "message"),
    [
        (changed("debn3_2"), r"no blobs for 1 of the net's 59 layers \(debn3_2\)"),
        (changed("bnfc7"), r"no blobs for 1 of the net's 59 layers \(bnfc7\)"),
        (changed("deconv1_2"), r"\(deconv1_2\)"),
        (changed("seg-score-voc"), r"\(score_fr\)"),
        (changed("bn2_1", ONE), "layer bn2_1 has 1 blobs; it needs 2: scale and shift"),
        (changed("bn2_1", ONE, ONE, ONE[:, :1]), "layer bn2_1 is a BatchNorm.*scale2_1"),
        (changed("bn2_1", ONE[:, :3], ONE), r"layer bn2_1 is \(1, 3, 1, 1\); the net's is \(4,\)"),
        (changed("conv4_1", FOLDED["conv4_1"][0]), "conv4_1 has 1 blobs; the net's has 2"),
        (FOLDED | {"debn9_9": [ONE, ONE]}, r"1 layers that this net has not \(debn9_9\)"),
    ],
)
def test_a_missing_or_unfit_blob_is_refused_by_name(blobs, message):
    net = network([*NET, "init=scratch"])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(WeightsError, match=message):
        load_blobs(net, blobs)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_net_without_the_files_norms_is_refused():
    """It would score with unnormalised maps."""
    with pytest.raises(WeightsError, match=r"2 layers that this net has not \(bnfc6, bnfc7\)"):
        loaded(FOLDED, "head.batch_norm=false")


def test_a_classifiers_file_leaves_norms_new_only_if_it_has_none():
    net = network(
        ["backbone=vgg16_bn", "model=fcn32s", "head.batch_norm=true", f"head.channels={FC}"]
    )
    classifier = {n: FOLDED[n] for n in FOLDED if n.startswith(("conv", "fc")) and "de" not in n}
    report = load_blobs(net, classifier)
    assert set(report.new) == {f"bn{n}" for n in ENCODER} | {"bnfc6", "bnfc7", "score_fr"}
    with pytest.raises(WeightsError, match=r"no blobs for 12 .*\(bn1_2, bn2_1"):
        load_blobs(net, classifier | {"bn1_1": FOLDED["bn1_1"]})
