"""Shift-and-stitch equals rarefaction for cells whose receptive fields hold the same pixels."""

import pytest
import torch
from dense_nets import Unpadded, inside, picture, randomise, scorer

from fcnexp.build import network
from fcnexp.errors import ConfigError
from fcnexp.nn.dense.rarefaction import rarefy
from fcnexp.nn.dense.shift_and_stitch import Stitch, interlace, split
from fcnexp.nn.geometry import IMAGE
from fcnexp.nn.layer_probe import bytes_of
from fcnexp.nn.streams import LateFusion

SHARED = pytest.mark.parametrize("shared", [True, False], ids=["shared", "one by one"])


def stitched(net, image, stride: int = 1, *, shared: bool, memory: float = 1):
    return Stitch(net.grid, stride, shared=shared, memory=memory)(net(image), net, image)


@SHARED
@pytest.mark.parametrize("factor", [2, 4, 8, 16, pytest.param(32, marks=pytest.mark.slow)])
@torch.inference_mode()
def test_equals_rarefaction_without_padding(factor, shared):
    """Every cell of the rarefied net also exists in the stitched map, with the same scores."""
    net = scorer(Unpadded(factor))
    field = 2 * net.grid.origin + 1  # no padding: the first cell's window begins at pixel 0
    image = picture(int(field) + factor + 5, int(field) + 2 * factor + 1)
    dense, found = rarefy(net, 1)(image), stitched(net, image, shared=shared)
    height, width = dense.shape[-2:]
    assert (height, width) == tuple(side - field + 1 for side in image.shape[-2:])
    torch.testing.assert_close(found[..., :height, :width], dense, rtol=1e-9, atol=1e-9)


@SHARED
@pytest.mark.parametrize("stride", [2, 4])
@torch.inference_mode()
def test_equals_rarefaction_to_a_coarser_stride(stride, shared):
    net = scorer(Unpadded(8, hang=1))
    image = picture(70, 73)
    dense, found = rarefy(net, stride)(image), stitched(net, image, stride, shared=shared)
    height, width = (side // stride * stride // stride - 2 for side in dense.shape[-2:])
    expected = dense[..., :height, :width]  # the last ones' windows hang over the edge
    torch.testing.assert_close(found[..., :height, :width], expected, rtol=1e-9, atol=1e-9)


PADDED = [  # backbone, receptive field of its deepest map, padding of the image, side, stride
    pytest.param("vgg16", 212, 100, 45, 8, marks=pytest.mark.slow),
    ("alexnet", 195, 100, 50, 4),
    ("googlenet", 139, 3, 170, 2),  # down to inception 3b: two response normalisations
]


@SHARED
@pytest.mark.parametrize(("backbone", "field", "pad", "side", "stride"), PADDED)
@torch.inference_mode()
def test_equals_rarefaction_inside_padded_nets(backbone, field, pad, side, stride, shared):
    """Compared for cells whose receptive field lies on the image and the first layer's padding."""
    choice = [f"backbone={backbone}", "model=fcn32s", "head=linear"]
    choice += ["model.deepest=8"] if backbone == "googlenet" else []
    net = randomise(network(choice)).double().net.scorer
    image = picture(side, side)
    dense, found = rarefy(net, stride)(image), stitched(net, image, stride, shared=shared)
    cells = inside(net.grid._replace(step=stride), dense.shape[-1], field, -pad, side - 1 + pad)
    assert cells.stop - cells.start >= 3
    same = (..., cells, cells)
    torch.testing.assert_close(found[same], dense[same], rtol=1e-9, atol=1e-9)
    border = (found[..., : dense.shape[-2], : dense.shape[-1]] - dense).abs()
    assert border.max() > 1e-6  # at the border the two methods see different padding


@SHARED
@torch.inference_mode()
def test_the_scorers_own_cells_keep_its_scores(shared):
    net = randomise(network(["backbone=tiny", "backbone.widths=[4,4,6,6,8,8]"])).double()
    net = net.net.scorer  # FCN-8s: skips and all
    image = picture(41, 52)
    found = stitched(net, image, shared=shared)
    assert torch.equal(found[..., ::8, ::8], net(image))


@torch.inference_mode()
def test_shared_and_one_by_one_agree_for_nets_with_skips():
    net = scorer(Unpadded(16), skips=(8, 4))
    field = 2 * net.head.grid.origin + 1 + 2 * 16  # plus one coarse cell for interpolation
    side = int(field) + 20
    image = picture(side, side)
    whole = stitched(net, image, shared=False)
    part = stitched(net, image, shared=True)
    cells = inside(net.grid._replace(step=1), part.shape[-1], field, 0, side - 1)
    same = (..., cells, cells)
    torch.testing.assert_close(part[same], whole[same], rtol=1e-9, atol=1e-9)


@SHARED
@torch.inference_mode()
def test_each_score_lies_at_the_centre_of_its_receptive_field(shared):
    """The scores that change with one pixel lie symmetrically around it."""
    net = scorer(Unpadded(4), classes=1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()  # so that nothing cancels
    grid = Stitch(net.grid, 1, shared=shared, memory=1).grid
    dark = torch.rand(1, 3, 60, 60, dtype=torch.float64)
    lit = dark.clone()
    lit[..., 30, 27] += 9
    moved = stitched(net, lit, shared=shared) != stitched(net, dark, shared=shared)
    rows, columns = (moved[0, 0].any(axis).nonzero().flatten() for axis in (1, 0))
    for places, pixel in ((rows, 30), (columns, 27)):
        centre = (grid.origin + places[0] + grid.origin + places[-1]).item() / 2
        assert abs(centre - pixel) <= 0.5


@torch.inference_mode()
def test_late_fusion_is_stitched_stream_by_stream():
    nets = {"rgb": scorer(Unpadded(4)), "hha": scorer(Unpadded(4))}
    randomise(nets["hha"], seed=7)
    both = LateFusion(nets, (3, 3)).double()
    image = picture(30, 33, channels=6)
    expected = sum(
        stitched(net, part, shared=True)
        for net, part in zip(nets.values(), image.split(3, 1), strict=True)
    )
    torch.testing.assert_close(stitched(both, image, shared=True), expected / 2)
    dense = rarefy(both, 1)(image)
    same = (..., slice(0, dense.shape[-2]), slice(0, dense.shape[-1]))
    torch.testing.assert_close(stitched(both, image, shared=False)[same], dense)


@pytest.mark.parametrize(("memory", "passes"), [(1, 1 + 1), (3.5e-4, 1 + 6), (1e-9, 1 + 16)])
@torch.inference_mode()
def test_batches_hold_as_many_shifts_as_fit_in_memory(memory, passes):
    net = scorer(Unpadded(4))
    image = picture(40, 40)
    size = bytes_of(net, torch.empty(1, 3, 44, 44, dtype=torch.float64, device="meta"))
    assert size == 2 * 4 * 42**2 * 8  # before and after the first ReLU
    seen = []
    handle = net.register_forward_hook(
        lambda _, args, out: None if out.is_meta else seen.append(len(args[0]))  # meta: measured
    )
    found = stitched(net, image, shared=False, memory=memory)
    handle.remove()
    assert len(seen) == passes and sum(seen) == 17
    assert max(seen) == min(16, max(1, int(memory * 2**30 / size)))
    torch.testing.assert_close(found, stitched(net, image, shared=True)[..., : found.shape[-2], :])


@SHARED
def test_gradients_flow_through_all_shifts(shared):
    net = scorer(Unpadded(2))
    image = picture(9, 8)
    names, tensors = zip(*net.named_parameters(), strict=True)

    def scores(*values):
        weights = {f"net.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Whole(net, shared), weights, image)

    assert torch.autograd.gradcheck(scores, tensors, fast_mode=True)


@pytest.mark.parametrize("shared", ["shared=true", "shared=false"])
def test_shifts_do_not_update_running_statistics(shared):
    """After one training step they equal the plain net's."""
    choice = ["backbone=tiny", "backbone.widths=[4,4,6,6,8,8]", "model=fcn32s"]
    method = ["dense=shift_and_stitch", "dense.stride=16", f"dense.{shared}"]
    plain, net = (network([*choice, *extra]).double().train() for extra in ([], method))
    randomise(plain)
    net.load_state_dict(plain.state_dict())
    for each in (plain, net):
        each({"rgb": picture(40, 40).expand(2, -1, -1, -1)}).square().sum().backward()
    for name, buffer in plain.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(dict(net.named_buffers())[name], buffer)
    assert net.net.scorer.backbone.block1[1].momentum == 0.1


class Whole(torch.nn.Module):
    """A net and its stitching as one module, so that gradcheck can set the weights."""

    def __init__(self, net, shared):
        super().__init__()
        self.net, self.shared = net, shared

    def forward(self, image):
        return stitched(self.net, image, shared=self.shared)


@SHARED
def test_half_precision_goes_through_all_shifts(shared):
    """Under autocast maps are bfloat16 and weights are not; scores differ by rounding only."""
    net = network(["backbone=tiny", "model=fcn32s"]).net.scorer
    randomise(net)
    image = torch.randn(1, 3, 64, 64)
    whole = stitched(net, image, 8, shared=shared)
    with torch.autocast("cpu", torch.bfloat16):
        halved = stitched(net, image, 8, shared=shared)
    assert halved.dtype == torch.bfloat16
    assert (halved - whole).abs().max() < 0.05 * whole.abs().max()


def test_interlacing_undoes_splitting():
    maps = picture(7, 9)
    back = interlace(split(maps, 4), 4)
    assert torch.equal(back[..., :7, :9], maps) and not back[..., 7:, :].any()
    parts = split(maps, 4)
    assert torch.equal(parts[4 * 2 + 3], torch.nn.functional.pad(maps[..., 2::4, 3::4], (0, 1))[0])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stride=3", r"dense: stride=3: the scorer's stride is 32, allowed are 1, 2, 4, 8, 16, 32"),
        ("memory=0", r"dense: memory=0(\.0)?: must be above 0, in GiB"),
    ],
)
def test_bad_values_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        network(["model=fcn32s", "dense=shift_and_stitch", f"dense.{override}"])


def test_stitched_grid_starts_at_the_scorers_first_cell():
    grid = Stitch(IMAGE.conv(7, 32, 0), 4, shared=True, memory=1).grid
    assert grid == (4, 3)
