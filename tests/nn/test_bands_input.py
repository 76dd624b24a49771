"""Bands as a net's input: standardised, missing pixels at the mean, filters of colour nets."""

import numpy as np
import pytest
import torch
import torchvision

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError, DataError, WeightsError
from fcnexp.nn.bands import Bands
from fcnexp.nn.inputs import InputRecipe, early
from fcnexp.nn.weights.band_filters import give_colours
from fcnexp.nn.weights.init import checkpoint
from fcnexp.nn.weights.surgery import load_blobs

PLAIN = {"use": None, "rgb": None, "order": "bgr", "spread": 72.0, "nodata": None, "axes": None}
MEAN, STD = (900.0, 1100.0, 1000.0, 1500.0, 300.0), (50.0, 60.0, 70.0, 800.0, 10.0)
TYPED = ["data=classes", "data.counts=[3]", "head=linear"]
TYPED += [f"modality.bands.{key}={list(v)}" for key, v in (("mean", MEAN), ("std", STD))]


def bands(**options) -> Bands:
    return Bands(**{"mean": MEAN, "std": STD} | PLAIN | options)


def test_network_input_equals_the_slow_way():
    stored = torch.randint(
        1, 3000, (2, 5, 4, 6), generator=torch.Generator().manual_seed(0)
    ).float()
    stored[0, 3, 1, 2], stored[1, 0, 0, 0], stored[1, 4, 3, 5] = torch.nan, 0.0, torch.inf
    recipe = bands(use=[4, 1, 5], nodata=0)
    found = recipe.apply(stored)
    assert found.dtype == torch.float32 and recipe.channels == 3 and recipe.stored_channels == 5
    for n, (c, band), y, x in _places(2, (4, 1, 5), 4, 6):
        value = stored[n, band - 1, y, x].item()
        known = np.isfinite(value) and value != 0
        expected = (value - MEAN[band - 1]) / STD[band - 1] * 72 if known else 0
        assert found[n, c, y, x].item() == pytest.approx(expected, rel=1e-5, abs=1e-3)


def _places(images, used, height, width):
    for n in range(images):
        for place in enumerate(used):
            for y in range(height):
                for x in range(width):
                    yield n, place, y, x


def test_padding_is_the_mean_and_facts_are_plain():
    recipe = early(bands=bands(rgb=[3, 2, 1]))
    stored = torch.full((1, 5, 4, 4), 1000.0)
    found = recipe.apply({"bands": stored}, torch.tensor([[3, 2]]))["bands"]
    assert (found[:, :, 3:] == 0).all() and (found[..., 2:] == 0).all() and found[0, 0, 0, 0] == 144
    facts = recipe.facts()["fields"]["bands"]
    assert facts["mean"] == MEAN and facts["rgb"] == (3, 2, 1)
    assert recipe.channels(("bands",)) == 5 and recipe.stored_channels == {"bands": 5}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"std": STD[:4]}, "mean has 5 values, std 4"),
        ({"use": [0, 1]}, r"bands.use=\[0, 1\]: the files have bands 1 to 5"),
        ({"use": [2, 2]}, "each once"),
        ({"rgb": [3, 2]}, "give three of these"),
        (
            {"std": (50.0, 0.0, 1.0, 1.0, 1.0)},
            r"band 2 has one value .* modality.bands.use=\[1, 3, ",
        ),
        ({"order": "grb"}, "allowed are bgr and rgb"),
        ({"spread": 0}, "must be above 0"),
    ],
)
def test_what_does_not_fit_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        bands(**options)


def net_and_filters(*typed: str):
    """A net of bands, its recipe, and made-up filters of colour, (O, B G R, kh, kw)."""
    cfg = compose_run([*TYPED, "backbone=vgg16", "modality=bands", *typed])
    net, recipe = build.build_net(cfg, {"class": 3})
    first = np.random.default_rng(0).normal(size=(64, 3, 3, 3)).astype(np.float32)
    return net, recipe, first


def filled(*typed: str) -> tuple[torch.Tensor, np.ndarray]:
    """First layer of a net of bands after a colour net's filters (O, B G R, kh, kw) were loaded."""
    net, recipe, first = net_and_filters(*typed)
    report = load_blobs(net, {"conv1_1": [first, np.zeros(64, np.float32)]}, strict=False)
    assert "conv1_1" in report.copied
    give_colours(net, recipe)
    layer = next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d))
    return layer.weight.detach(), first


def test_colours_keep_their_filters_and_other_bands_get_the_mean():
    weight, (blue, green, red) = (lambda w, f: (w, f.transpose(1, 0, 2, 3)))(
        *filled("modality.bands.rgb=[3,2,1]", "modality.bands.use=[4,3,2,1]")
    )
    mean = (blue + green + red) / 3
    for channel, expected in enumerate((mean, red, green, blue)):
        np.testing.assert_allclose(weight[:, channel], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "typed",
    [
        [],  # colours unknown
        ["modality.bands.use=[1,2,3]"],
        ["modality.bands.use=[5,4]"],
        ["modality.bands.rgb=[3,2,1]", "modality.bands.use=[1,2,4,5]"],  # red is not in use
    ],
)
def test_without_all_colours_every_band_gets_the_mean(typed):
    weight, first = filled(*typed)
    mean = torch.from_numpy(first.mean(1, keepdims=True)).expand_as(weight)
    torch.testing.assert_close(weight, mean)


def test_many_bands_do_not_get_the_colours_twice():
    many = [f"modality.bands.{key}={[1.0] * 7}" for key in ("mean", "std")]
    weight, first = filled(*many, "modality.bands.rgb=[1,2,3]")
    mean = torch.from_numpy(first.mean(1))
    torch.testing.assert_close(weight[:, 0], torch.from_numpy(first[:, 2]))  # red
    for channel in range(3, 7):
        torch.testing.assert_close(weight[:, channel], mean)


def test_torchvisions_files_give_their_filters_in_their_order(tmp_path):
    trunk = torchvision.models.resnet18(weights=None)
    torch.save(trunk.state_dict(), tmp_path / "resnet18.pth")
    red, green, blue = trunk.conv1.weight.detach().unbind(1)
    typed = [
        *TYPED,
        "backbone=resnet18",
        "modality.bands.rgb=[3,2,1]",
        "modality.bands.use=[5,1,2,3]",
    ]
    net, recipe = build.build_net(compose_run([*typed, "modality=bands_torchvision"]), {"class": 3})
    checkpoint(net, recipe, path=str(tmp_path / "resnet18.pth"))
    layer = next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d))
    expected = torch.stack([(red + green + blue) / 3, blue, green, red], 1)
    torch.testing.assert_close(layer.weight.detach(), expected)
    net, recipe = build.build_net(compose_run([*typed, "modality=bands"]), {"class": 3})
    with pytest.raises(
        WeightsError, match="takes RGB, .* gives BGR; choose modality=bands_torchvi"
    ):
        checkpoint(net, recipe, path=str(tmp_path / "resnet18.pth"))


def test_the_order_of_the_weights_net_is_asked_for():
    cfg = compose_run([*TYPED, "modality=bands_torchvision", "backbone=vgg16"])
    recipe = build.part(cfg, "modality")
    assert (recipe.bands.order, recipe.bands.spread, recipe.colour_order) == ("rgb", 1, "rgb")
    assert bands(rgb=[3, 2, 1]).colour_channels == (0, 1, 2)
    assert bands(rgb=[3, 2, 1], order="rgb").colour_channels == (2, 1, 0)


def test_colour_changes_and_data_without_bands_are_refused():
    typed = [t for t in TYPED if not t.startswith("data")]
    with pytest.raises(
        ConfigError, match=r"augment.colour=0.2: .* which bands do not have; set aug"
    ):
        build.build_data(compose_run([*typed, "modality=bands", "augment=crop"]))
    with pytest.raises(ConfigError, match="the data set provides rgb; choose data=folder"):
        build.dry_run(compose_run([*typed, "modality=bands"]))


def test_files_of_another_number_of_bands_are_refused():
    with pytest.raises(DataError, match="images of 4 bands, but the net was trained on files of 5"):
        bands(use=[1, 2]).apply(torch.zeros(1, 4, 2, 2))


def test_other_recipes_have_no_bands():
    recipe: InputRecipe = build.part(compose_run([]), "modality")
    assert recipe.bands is None and recipe.stored_channels == {"rgb": 3}
