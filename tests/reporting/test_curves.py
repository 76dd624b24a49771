"""Learning curves and confusion matrices read from made-up runs."""

import numpy as np
import pytest
from made_up_runs import write_confusion, write_lines, write_metrics

from fcnexp.errors import DataError
from fcnexp.reporting import curves
from fcnexp.reporting.records import read_confusion


def test_parts_of_a_resumed_run_are_joined_at_the_step_it_resumed_from(tmp_path):
    write_metrics(tmp_path, [0.1, 0.2, 0.9, 0.9, 0.9], name="metrics_until_20.csv")
    write_metrics(tmp_path, [0.3, 0.8], first=20, name="metrics_until_30.csv")
    write_metrics(tmp_path, [0.7], first=20, name="metrics_until_30_2.csv")
    write_metrics(tmp_path, [0.4], first=30)
    points = curves.read_metric(tmp_path, curves.MEAN_IU)
    assert points == [(10, 0.1), (20, 0.2), (30, 0.7), (40, 0.4)]
    assert [step for step, _ in curves.read_metric(tmp_path, curves.LOSS)] == [10, 20, 30, 40]


def test_mean_is_over_steps_that_all_seeds_have(tmp_path):
    for seed, mious in enumerate([(0.1, 0.4, 0.6), (0.3, 0.2)]):
        (tmp_path / str(seed)).mkdir()
        write_metrics(tmp_path / str(seed), mious)
    folders = [tmp_path / "0", tmp_path / "1", tmp_path / "no such run"]
    seeds, mean = curves.curves(folders, curves.MEAN_IU)
    assert [len(line) for line in seeds] == [3, 2]
    assert [s for s, _ in mean] == [10, 20] and [v for _, v in mean] == pytest.approx([0.2, 0.3])


def test_points_without_a_finite_number_are_dropped(tmp_path):
    lines = [("step", "train/loss"), (1, "nan"), (2, "inf"), (3, ""), ("x", 5), (4, 1.5)]
    write_lines(tmp_path / "metrics.csv", *lines)
    assert curves.read_metric(tmp_path, curves.LOSS) == [(4, 1.5)]
    assert curves.curves([tmp_path], curves.MEAN_IU) == ([], [])


def test_long_line_is_averaged_not_truncated(tmp_path):
    values = np.random.default_rng(0).random(4 * curves.MAX_POINTS)
    lines = [(step, value) for step, value in enumerate(values.tolist())]
    write_lines(tmp_path / "metrics.csv", ("step", "train/loss"), *lines)
    (line,), mean = curves.curves([tmp_path], curves.LOSS)
    assert len(line) == curves.MAX_POINTS and line == mean
    assert np.array(line)[:, 1] == pytest.approx(values.reshape(-1, 4).mean(1))
    assert np.array(line)[:, 0] == pytest.approx(1.5 + 4 * np.arange(curves.MAX_POINTS))


def test_axis_ends_on_round_numbers():
    axis = curves.value_axis([[(0, 0.12), (1, 0.83)]], times=100)
    assert [text for _, text in axis.ticks] == ["0", "50", "100"]
    assert axis.place(0.25) == 0.25 and axis.place(1) == 1
    axis = curves.step_axis([[(9, 0.0), (399, 0.0)]])
    assert [text for _, text in axis.ticks] == ["0", "100", "200", "300", "400"]


def test_loss_over_several_orders_of_magnitude_is_logarithmic():
    axis = curves.value_axis([[(0, 5e5), (1, 20.0)]], log=True)
    assert [text for _, text in axis.ticks] == ["10", "100", "1000", "10000", "100000", "1e+06"]
    assert axis.place(1000) == pytest.approx(2 / 5)
    assert not curves.value_axis([[(0, 5e5), (1, -1.0)]], log=True).log


@pytest.mark.parametrize("value", [0.0, 1e-9, 7.0])
def test_single_value_has_an_axis(value):
    axis = curves.value_axis([[(0, value)]], log=True)
    assert axis.low <= value <= axis.high and axis.low < axis.high
    assert all(0 <= place <= 1 for place, _ in axis.ticks)


def test_path_rises_with_the_values():
    across, up = curves.step_axis([[(0, 0), (100, 1)]]), curves.value_axis([[(0, 0.0), (100, 1.0)]])
    assert curves.path([(0, 0.0), (50, 1.0)], across, up) == "M0 1000L500 0"
    assert (
        curves.path([(50, 1.0)], across, up) == "M500 0h0"
    )  # drawn as a dot, thanks to round line caps


def test_confusion_is_summed_over_seeds(tmp_path):
    for number, (names, counts) in enumerate(
        [("ab", [[1, 2], [3, 4]]), ("ab", [[10, 20], [30, 40]]), ("ac", [[100, 0], [0, 0]])]
    ):
        (tmp_path / str(number)).mkdir()
        write_confusion(tmp_path / str(number), names, counts)
    folders = [tmp_path / name for name in ("none", "0", "1", "2")]
    assert read_confusion(folders) == (["a", "b"], [[11, 22], [33, 44]])


@pytest.mark.parametrize("lines", [[], [["t", "a"]], [["t", "a"], ["a", "x"]], [["t"], ["a", 1]]])
def test_damaged_confusion_is_named(tmp_path, lines):
    write_lines(tmp_path / "confusion.csv", *lines)
    with pytest.raises(DataError, match=r"confusion\.csv: damaged; remove it"):
        read_confusion([tmp_path])
