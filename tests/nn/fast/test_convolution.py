"""Each fast path of a convolution equals the plain one, also after its weights change."""

import copy
import gc

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from fcnexp.nn.fast import convolution, packed
from fcnexp.nn.fast.convolution import conv_relu
from fcnexp.nn.fast.switches import FAST_PATHS, plain

# Layers that use each path, and the size of their maps.
LAYERS = {
    "winograd": (lambda: nn.Conv2d(64, 128, 3, padding=1), (17, 14)),
    "winograd, dilated": (lambda: nn.Conv2d(64, 128, 3, padding=2, dilation=2), (26, 30)),
    "matrix": (lambda: nn.Conv2d(128, 512, 4), (9, 8)),
    "packed": (lambda: nn.Conv2d(6, 16, 5, stride=2, padding=2, groups=2), (17, 14)),
}


def layer_and_maps(path, dtype=torch.float32):
    make, size = LAYERS[path]
    layer = make().to(dtype, memory_format=torch.channels_last)
    return layer, torch.randn(1, layer.in_channels, *size, dtype=dtype)


def plainly(layer, maps):
    form = (layer.stride, layer.padding, layer.dilation, layer.groups)
    return F.relu(F.conv2d(maps, layer.weight, layer.bias, *form))


@pytest.fixture
def paths_run(monkeypatch):
    """Return the list of names of the fast paths that ran."""
    assert packed.works(torch.float32)  # its trial would count as a run
    names = []
    for module, name, path in (
        (convolution.winograd, "convolve", "winograd"),
        (convolution.matrix, "convolve", "matrix"),
        (convolution.packed, "convolve_packed", "packed"),
    ):
        run = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, run=run, path=path, **k: names.append(path) or run(*a, **k)
        )
    return names


@pytest.mark.parametrize("path", LAYERS)
def test_it_equals_the_plain_convolution(path, paths_run):
    layer, maps = layer_and_maps(path)
    with torch.inference_mode():
        for images in (maps, torch.cat([maps, -maps])):
            torch.testing.assert_close(
                conv_relu(layer, images), plainly(layer, images), rtol=1e-4, atol=1e-4
            )
    assert paths_run == [path.partition(",")[0]] * 2


@pytest.mark.parametrize("path", ["winograd", "winograd, dilated", "matrix"])
def test_values_and_gradients_equal_the_plain_convolutions_in_float64(path, paths_run):
    layer, maps = layer_and_maps(path, torch.float64)
    maps.requires_grad_()
    found, truth = conv_relu(layer, maps), plainly(layer, maps)
    inputs = [maps, *layer.parameters()]
    weights = torch.randn_like(truth)
    gradients = (torch.autograd.grad(x, inputs, weights) for x in (found, truth))
    for a, b in zip((found, *next(gradients)), (truth, *next(gradients)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
    assert set(paths_run) == {path.partition(",")[0]}


@pytest.mark.parametrize("path", LAYERS)
@torch.no_grad()
def test_changed_weights_are_used(path):
    layer, maps = layer_and_maps(path)
    other = copy.deepcopy(layer)
    other.weight.add_(0.1)
    for change in (
        lambda: None,
        lambda: layer.weight.mul_(2),
        lambda: layer.weight.data.mul_(2),  # torch's version counter misses it
        lambda: layer.bias.data.add_(1),
        lambda: layer.weight.data[5].zero_(),  # one filter
        lambda: layer.weight.data[:, 1].zero_(),  # one channel
        lambda: layer.weight.data.copy_(layer.weight[:, torch.randperm(layer.weight.shape[1])]),
        lambda: layer.load_state_dict(other.state_dict()),
        lambda: setattr(layer, "weight", nn.Parameter(other.weight * 3)),
    ):
        change()
        found = conv_relu(layer, maps)
        torch.testing.assert_close(found, plainly(layer, maps), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("path", LAYERS)
def test_learning_weights_are_not_cached(path):
    layer, maps = layer_and_maps(path)
    conv_relu(layer, maps).sum().backward()
    truth = torch.autograd.grad(plainly(layer, maps).sum(), layer.weight)[0]
    torch.testing.assert_close(layer.weight.grad, truth, rtol=1e-3, atol=1e-3)
    assert layer not in convolution._kept


@pytest.mark.parametrize("path", LAYERS)
@torch.no_grad()
def test_one_copy_of_other_weights_is_cached_while_the_layer_exists(path):
    gc.collect()
    before = len(convolution._kept)
    layer, maps = layer_and_maps(path)
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            conv_relu(layer, maps)
        assert len(convolution._kept) <= before + 1
    del layer
    gc.collect()
    assert len(convolution._kept) == before


@pytest.mark.parametrize("path", LAYERS)
@torch.no_grad()
def test_under_autocast_maps_are_bfloat16(path):
    layer, maps = layer_and_maps(path)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv_relu(layer, maps)
    assert found.dtype == torch.bfloat16
    truth = plainly(layer, maps)
    assert (found - truth).abs().max() < 0.03 * truth.max()


@torch.inference_mode()
def test_float32_after_bfloat16_is_not_rounded():
    layer = nn.Conv2d(512, 512, 3, padding=1)
    maps = torch.randn(1, 512, 12, 12)
    truth = plainly(layer, maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert (conv_relu(layer, maps) - truth).abs().max() < 0.01 * truth.max()
    assert (conv_relu(layer, maps) - truth).abs().max() < 1e-5 * truth.max()


def test_a_backward_pass_under_autocast_is_not_rounded():
    layer, maps = layer_and_maps("winograd")
    maps.requires_grad_()
    found, truth = conv_relu(layer, maps).sum(), plainly(layer, maps).sum()
    with torch.autocast("cpu", torch.bfloat16):
        gradient = torch.autograd.grad(found, maps)[0]
    expected = torch.autograd.grad(truth, maps)[0]
    assert (gradient - expected).abs().max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize("path", ["winograd", "matrix"])
def test_nan_stays_nan(path):
    layer, maps = layer_and_maps(path)
    maps[0, 0, 3, 3] = torch.nan
    for made in (conv_relu(layer, maps), torch.no_grad()(conv_relu)(layer, maps)):
        assert made.isnan()[plainly(layer, maps).isnan()].all()


@pytest.mark.parametrize("path", LAYERS)
def test_torch_func_transforms_a_layer(path):
    layer, maps = layer_and_maps(path)
    with torch.no_grad():
        found = torch.func.vmap(lambda one: conv_relu(layer, one[None]))(torch.cat([maps, -maps]))
    truth = torch.stack([plainly(layer, maps), plainly(layer, -maps)])
    torch.testing.assert_close(found, truth, rtol=1e-4, atol=1e-4)
    of_maps = torch.func.grad(lambda x: conv_relu(layer, x).sum())(maps)
    expected = torch.func.grad(lambda x: plainly(layer, x).sum())(maps)
    torch.testing.assert_close(of_maps, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", LAYERS)
def test_backward_and_global_hooks_and_a_replaced_forward_run(path):
    layer, maps = layer_and_maps(path)
    seen = []
    handle = layer.register_full_backward_hook(lambda m, of_maps, of_made: seen.append(m))
    conv_relu(layer, maps.requires_grad_()).sum().backward()
    handle.remove()
    handle = register_module_forward_hook(lambda m, args, made: seen.append(m))
    conv_relu(layer, maps)
    handle.remove()
    assert seen == [layer, layer]
    layer.forward = lambda x: nn.Conv2d.forward(layer, x) + 7
    assert conv_relu(layer, maps).min() > plainly(layer, maps).min() + 1


@pytest.mark.parametrize("path", LAYERS)
@torch.no_grad()
def test_a_layer_with_a_hook_or_disabled_paths_runs_plainly(path, paths_run):
    layer, maps = layer_and_maps(path)
    seen = []
    layer.register_forward_hook(lambda m, args, out: seen.append(out))
    conv_relu(layer, maps)
    assert len(seen) == 1
    with plain([path.partition(",")[0]]), plain(["packed"]):
        conv_relu(layer_and_maps(path)[0], maps)
    with plain():
        conv_relu(layer_and_maps(path)[0], maps)
    assert paths_run == []


@torch.no_grad()
def test_without_torchs_private_operators_the_plain_code_runs(monkeypatch, paths_run):
    monkeypatch.setattr(packed, "works", lambda dtype: False)
    layer, maps = layer_and_maps("packed")
    assert torch.equal(conv_relu(layer, maps), F.relu(layer(maps)))
    assert paths_run == []


def test_the_private_operators_work_on_this_machine():
    assert packed.works(torch.float32)
    assert packed.works(torch.bfloat16) == torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert not packed.works(torch.float64)
    assert convolution.matrix.has_fused()


def test_an_unknown_fast_path_is_refused_by_name():
    disabled = plain(["border", "fft"])
    with (
        pytest.raises(
            ValueError,
            match=f"no fast path is called fft; allowed are all, {', '.join(FAST_PATHS)}",
        ),
        disabled,
    ):
        pass
