"""The VOC nets give the scores of the original ones, run in Caffe's own terms.

Weights and inputs are made up by the recipe of the goldens' README and are the same there.
"""

import math
import zlib

import numpy as np
import pytest
import torch
from conftest import SHARED

from fcnexp.build import build_net
from fcnexp.config import compose_run

pytestmark = pytest.mark.real_data

NETS = {
    "voc-fcn-alexnet": ("alexnet", "fcn32s"),
    "voc-fcn32s": ("vgg16", "fcn32s"),
    "voc-fcn16s": ("vgg16", "fcn16s"),
    "voc-fcn8s": ("vgg16", "fcn8s"),
}


def noise(name: str, blob: int, shape: tuple[int, ...]) -> torch.Tensor:
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{name}/{blob}".encode())))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize("size", [(64, 96), (133, 101)])
@pytest.mark.parametrize("name", NETS)
def test_scores_equal_the_original_nets(name, size):
    folder = SHARED / "golden/caffe"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    backbone, model = NETS[name]
    net = build_net(compose_run([f"backbone={backbone}", f"model={model}", "data=voc"]), 21)[0]
    with torch.inference_mode():
        for layer, module in net.layers().items():
            spread = math.sqrt(2 / module.weight[0].numel())
            spread *= 0.1 if layer.startswith("score") else 1.0
            module.weight.copy_(noise(layer, 0, tuple(module.weight.shape)) * np.float32(spread))
            module.bias.copy_(noise(layer, 1, tuple(module.bias.shape)) * 2)
        scores = net.eval()({"rgb": noise("data", 0, (1, 3, *size)) * 50})[0].numpy()
    golden = np.load(folder / f"{name}_{size[0]}x{size[1]}.npz")
    step, expected = int(golden["stride"]), golden["score"]
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(scores[:, ::step, ::step], expected, rtol=0, atol=tolerance)
    assert (scores.argmax(0) != golden["score_argmax"]).mean() <= 1e-4
