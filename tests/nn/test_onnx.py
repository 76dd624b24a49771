"""Unpooling nets exported to ONNX and run by onnxruntime at other sizes than the export's."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from fcnexp import build
from fcnexp.nn.pooling import MaxPool, Switches, Unpool

AXES = {0: "batch", 2: "height", 3: "width"}
SIZES = [(1, 65, 97), (3, 33, 47), (2, 64, 64), (2, 1, 1), (1, 131, 20)]


class PoolUnpool(nn.Module):
    def __init__(self, kernel: int, pad: int) -> None:
        super().__init__()
        self.pool = MaxPool(kernel, 2, pad)
        self.unpool = Unpool(self.pool)

    def forward(self, maps: Tensor) -> Tensor:
        switches: list[Switches] = []
        pooled = self.pool(maps, switches)
        return self.unpool(pooled, switches[0])


def assert_equal_to_onnx(net: nn.Module, path: str, sizes: list[tuple[int, int, int]]) -> None:
    """Assert that onnxruntime equals torch within 1e-4 for several batches and sizes."""
    example = torch.randn(2, 3, 41, 50)
    axes = (AXES,)
    torch.onnx.export(net, (example,), path, dynamo=True, dynamic_shapes=axes, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, height, width in sizes:
        image = torch.randn(batch, 3, height, width)
        with torch.inference_mode():
            expected = net(image).numpy()
        assert np.abs(expected).max() > 1e-2
        found = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("kernel", "pad"), [(2, 0), (3, 0), (3, 1)])
def test_pooling_and_unpooling(kernel, pad, tmp_path):
    sizes = [*SIZES, (1, 2, 1), (5, 16, 31), (2, 7, 6)]
    assert_equal_to_onnx(PoolUnpool(kernel, pad).eval(), str(tmp_path / "pool.onnx"), sizes)


def test_deconvnet(tmp_path):
    widths = "backbone.widths=[4,4,6,6,8,8]"
    net = build.network(["model=deconvnet", widths])
    for module in net.modules():  # else the untrained net's scores vanish
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias)
    nn.init.normal_(net.net.scorer.score.weight)
    assert_equal_to_onnx(net.net, str(tmp_path / "net.onnx"), SIZES)
