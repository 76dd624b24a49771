"""`python -m fcnexp.explain` from the command line."""

import pytest
from commands import fcnexp


def explain(tmp_path, *arguments: str):
    return fcnexp("explain", *arguments, folder=tmp_path, cache=tmp_path)


def test_net_is_listed_map_by_map_with_the_papers_totals(tmp_path):
    done = explain(tmp_path, "model=fcn8s", "backbone=vgg16", "size=[500,500]")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    row = next(line for line in lines if line.startswith("│ fc6 "))
    assert [cell.strip() for cell in row.split("│")[2:-1]] == [
        *("convolution 7x7", "4096", "16", "16", "32", "12.5", "404", "102,764,544", "26,306.7"),
    ]
    assert any("134,362,751" in line and "134 M" in line for line in lines)
    assert any("404" in line and line.count("404") == 2 for line in lines)
    assert not list((tmp_path / "outputs/explain").iterdir())  # no empty run folder remains


def test_experiment_is_explained(tmp_path):
    done = explain(tmp_path, "experiment=nyud_fcn32s_color_hha", "size=[64,96]", "crops=false")
    assert "score_fused" in done.stdout and "268,848,848" in done.stdout
    assert (
        " 40 │" in done.stdout and "conv5_3hha" in done.stdout and "are cropped" not in done.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["layer=conv", "layer.pad=same"], "floor((5 + 2 * 1 - 3) / 1) + 1 = 5"),
        (["layer=transposed"], "(3 - 1) * 2 + 4 - 0 = 8"),
        (["layer=unpooling"], "(2 - 1) * 2 + 2 = 4"),
    ],
)
def test_layer_is_explained_and_drawn(tmp_path, arguments, expected):
    done = explain(tmp_path, *arguments, "hydra.run.dir=out")
    assert done.returncode == 0 and expected in done.stdout, done.stderr
    assert list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["size=[500]"], "size=[500]: must be height and width"),
        (["size=[0,5]"], "size=[0, 5]: must be height and width"),
        (["layer=conv", "layer.kernel=4", "layer.pad=same"], "layer: padding=same needs an odd"),
        (["layer=conv", "layer.kernel=9"], "layer: kernel=9, cells=5, pad=0: the window is wider"),
        (["layer=conv", "layer.cells=40"], "layer: "),
        (["layer=pool"], "layer=pool: no such option (did you mean unpooling?); choose one of"),
        (["model=fcn9s"], "model=fcn9s: no such option"),
    ],
)
def test_mistake_gives_one_line(tmp_path, arguments, message):
    done = explain(tmp_path, *arguments)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
