import pytest

from fcnexp.build import network
from fcnexp.nn.geometry import IMAGE, Grid, bilinear_kernel_size


def crops(model: str, backbone: str, *overrides: str) -> list[int]:
    """Crop of each skip, coarsest first, then of the final upsampling."""
    net = network([f"model={model}", f"backbone={backbone}", "head.channels=4", *overrides]).net
    skips = [skip.crop for skip in net.scorer.skips.values()]
    return [*skips, net.dense.upsampling.crop]


@pytest.mark.parametrize(
    ("model", "expected"), [("fcn32s", [19]), ("fcn16s", [5, 27]), ("fcn8s", [5, 9, 31])]
)
def test_crops_of_vgg16_equal_the_reference_nets(model, expected):
    assert crops(model, "vgg16") == expected


def test_crop_of_alexnet_is_18_with_a_63_wide_kernel():
    net = network(["model=fcn32s", "backbone=alexnet", "head.channels=4"]).net
    assert net.dense.upsampling.crop == 18
    assert net.dense.upsampling.kernel_size == 63
    assert net.scorer.grid.deconv(64, 32).offset_to(IMAGE) == 18.5  # why 64 does not work


def test_deconvolution_inverts_a_convolution_of_the_same_shape():
    grid = Grid(4, -7.5)
    assert grid.conv(6, 2, pad=1).deconv(6, 2, pad=1) == grid


def test_grids_computed_by_hand():
    assert IMAGE.conv(7, 2, pad=3) == Grid(2, 0)  # centred on pixels 0, 2, 4
    assert IMAGE.conv(2, 2) == Grid(2, 0.5)  # between pixels 0 and 1, 2 and 3
    assert Grid(2, 0.5).crop(3) == Grid(2, 6.5)


def test_maps_of_different_steps_are_refused():
    with pytest.raises(ValueError, match="step 2 and 4"):
        Grid(2, 0).offset_to(Grid(4, 0))


def test_kernel_is_even_unless_only_an_odd_one_aligns():
    assert bilinear_kernel_size(Grid(8, 3.5), 8, IMAGE) == 16
    assert bilinear_kernel_size(Grid(8, 0), 8, IMAGE) == 15
    with pytest.raises(ValueError, match="no bilinear kernel"):
        bilinear_kernel_size(Grid(8, 0.25), 8, IMAGE)
