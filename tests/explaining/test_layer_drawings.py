"""Drawings of layers, read back from their pixels."""

from itertools import groupby

import numpy as np
import pytest
from PIL import Image
from scipy.signal import convolve2d, correlate2d

from fcnexp.explaining.layer_drawings import draw_layer
from fcnexp.explaining.layer_page import (
    INPUT,
    MARKED,
    MARKED_PALE,
    OUTPUT,
    PADDING,
    WHITE,
    Page,
)
from fcnexp.nn.inspection.arithmetic import Layer

NAMES = {INPUT: "i", OUTPUT: "o", MARKED: "M", PADDING: "p", MARKED_PALE: "m", WHITE: "."}


def picture(layer: Layer, folder) -> np.ndarray:
    draw_layer(layer, folder / "new" / "layer.png")
    return np.array(Image.open(folder / "new" / "layer.png"))


def cells_along(line: np.ndarray) -> str:
    """Cells that a line of pixels crosses, as letters; edges separate cells, gaps are dots."""
    runs = groupby(line.tolist())
    letters = "".join(NAMES.get(tuple(fill), "") for fill, run in runs if len(list(run)) > 4)
    return letters.strip(".").replace("..", ".")


def bands(page: np.ndarray) -> list[str]:
    """Cells across the page, from top to bottom, without repetitions of equal lines."""
    return [cells for cells, _ in groupby(cells_along(line) for line in page)]


@pytest.mark.parametrize(
    ("layer", "rows"),
    [
        (Layer("conv", 5, 3), ["iMMMi", "oMo"]),
        (Layer("conv", 5, 3, 1, 1), ["piMMMip", "ooMoo"]),
        (Layer("conv", 7, 3, 2), ["iiMMMii", "o.M.o"]),
        (Layer("transposed", 2, 3, 2), ["M.M", "ooMoo"]),
        (Layer("transposed", 3, 2, 3), ["i.M.i", "oo.Mo.oo"]),  # gaps are white
        (Layer("transposed", 2, 4, 2, 1), ["M.M", "poMoop"]),
    ],
)
def test_marked_output_is_drawn_below_its_sources(layer, rows, tmp_path):
    _, *drawn = bands(picture(layer, tmp_path))
    assert [drawn[0], drawn[drawn.index("") + 1]] == rows


def test_square_maps_show_the_window_and_the_cell_it_feeds(tmp_path):
    drawn = bands(picture(Layer("conv", 7, 3, 2), tmp_path))
    maps = [cells.replace("..", ".") for cells in drawn if cells.startswith("iiMMMii.")]
    assert [cells for cells, _ in groupby(maps)] == ["iiMMMii.ooo", "iiMMMii.oMo", "iiMMMii.ooo"]


def test_square_maps_show_padding_and_gaps(tmp_path):
    assert "piMMMip.ooMoo" in bands(picture(Layer("conv", 5, 3, 1, 1), tmp_path))
    assert "oo.oo.oo" in bands(picture(Layer("transposed", 3, 2, 3), tmp_path))


def test_unpooling_fills_one_cell_of_a_window_and_a_transposed_convolution_all(tmp_path):
    drawn = bands(picture(Layer("unpooling", 2, 2, 2), tmp_path))
    assert "mM.iM.mM" in [cells.replace("..", ".") for cells in drawn]  # map, pooled, unpooled
    assert drawn[-5:] == ["", "iiMM", "iiiiMMMM", "iiMM", ""]  # transposed; numbers split cells


def test_an_output_without_sources_is_also_drawn(tmp_path):
    drawn = bands(picture(Layer("transposed", 2, 1, 3, 1), tmp_path))
    assert drawn[1] == "i.i"
    assert "pM.p" in drawn


@pytest.mark.parametrize("kind", ["conv", "transposed", "unpooling"])
@pytest.mark.parametrize("numbers", [(1, 1), (3, 64, 32), (16, 1, 5), (16, 16, 1), (12, 7, 3)])
def test_nothing_is_cut_off_at_the_margins(kind, numbers, tmp_path):
    pad = numbers[1] - 1 if kind == "conv" else 0  # so that the window fits
    page = picture(Layer(kind, *numbers[:2], *numbers[2:] or (1,), pad), tmp_path)
    assert (page != 255).mean() > 0.01
    page[14:-28, 20:-28] = 255
    assert (page == 255).all()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Layer("conv", 17, 3), "cells=17 is too many to draw; try 16 or fewer"),
        (
            Layer("transposed", 16, 64, 40),
            "a row of 664 cells is too long to draw: at most 600 fit; "
            "try fewer cells, or a smaller kernel, stride or pad",
        ),
    ],
)
def test_layers_too_large_to_draw_are_refused(layer, message, tmp_path):
    with pytest.raises(ValueError) as error:
        draw_layer(layer, tmp_path / "layer.png")
    assert str(error.value) == message
    assert not (tmp_path / "layer.png").exists()


@pytest.mark.parametrize(
    "layer",
    [
        *(Layer("conv", 5, 3), Layer("conv", 5, 3, 1, 1), Layer("conv", 8, 2, 2)),
        *(Layer("conv", 2, 4, 1, 3), Layer("conv", 4, 1), Layer("conv", 4, 2, 3, 1)),
    ],
)
def test_numbers_on_the_page_are_a_nets_and_a_textbooks_convolution(layer, tmp_path, monkeypatch):
    maps: dict[str, np.ndarray] = {}
    texts: list[str] = []
    square, text = Page.square, Page.text

    def noted(page, at, side, fills, title, numbers=""):
        maps[title] = np.array(numbers)
        square(page, at, side, fills, title, numbers)

    monkeypatch.setattr(Page, "square", noted)
    monkeypatch.setattr(Page, "text", lambda *a, **k: (texts.append(a[3]), text(*a, **k))[1])
    draw_layer(layer, tmp_path / "layer.png")
    padded = maps["input, padded" if layer.pad else "input"]
    kernel, turned = maps["kernel, as it is"], maps["turned by 180 degrees"]
    assert (turned == kernel[::-1, ::-1]).all() and len(kernel) == layer.kernel
    every = np.s_[:: layer.stride, :: layer.stride]
    net = correlate2d(padded, kernel, "valid")[every]
    textbook = convolve2d(padded, kernel, "valid")[every]
    assert (maps["output of a net"] == net).all() and net.shape == (layer.out, layer.out)
    assert (maps["output of a textbook's convolution"] == textbook).all()
    assert (net == textbook).all() == (layer.kernel == 1)  # the numbers show the difference
    middle = (layer.out - 1) // 2
    sums = [line for line in texts if "*" in line and "+ 2 *" not in line and "stride" not in line]
    assert [int(line.rpartition("= ")[2]) for line in sums] == [
        *(net[middle, middle], textbook[middle, middle])
    ]
    if layer.kernel <= 3:
        terms = [[t.split("*") for t in line.partition(" =")[0].split(" + ")] for line in sums]
        assert [sum(int(a) * int(b) for a, b in each) for each in terms] == [
            *(net[middle, middle], textbook[middle, middle])
        ]


def test_numbers_of_a_large_layer_are_those_of_a_small_one(tmp_path, monkeypatch):
    texts: list[str] = []
    text = Page.text
    monkeypatch.setattr(Page, "text", lambda *a, **k: (texts.append(a[3]), text(*a, **k))[1])
    draw_layer(Layer("conv", 16, 7), tmp_path / "layer.png")
    assert any(line.startswith("Numbers, for 5 cells and kernel 3: ") for line in texts)
