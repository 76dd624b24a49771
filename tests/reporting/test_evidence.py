"""Evidence of a report, from made-up runs: intervals, steps, refusals, objects, images."""

import csv
import json
import re

import numpy as np
import pytest
from commands import fcnexp
from made_up_runs import CHOICES, write_run, write_scored
from scored_images import per_image_of, random_maps
from test_page import Read

from fcnexp.errors import DataError
from fcnexp.reporting.evidence_tables import (
    change_cells,
    class_cells,
    gain_text,
    scores_by_image,
    size_cells,
    spread_cells,
    step_cells,
    worst_cells,
)
from fcnexp.reporting.page import page
from fcnexp.reporting.summary import notes, read_summary
from fcnexp.reporting.writing import markdown
from fcnexp.scoring.by_image import image_iu
from fcnexp.scoring.paired import difference
from fcnexp.scoring.per_image import IMAGES
from fcnexp.scoring.resampling import resampled
from fcnexp.scoring.scores import mean_iu

MODELS = {"fcn32s": 0.4, "fcn16s": 0.7, "fcn8s": 0.7}
PAPER = ("FCN-32s", "FCN-16s", "FCN-8s")
EVIL = "</script><script>alert(1)</script>"


def record(right: float, seed: int, *, images=30, first=0, names=None):
    """Images of one data set, labelled by a net that is right in this share of the pixels."""
    labels, _ = random_maps(first, images, side=24)
    rng = np.random.default_rng([seed, int(100 * right)])
    guesses = [
        np.where(rng.random(m.shape) < right, m % 255, rng.integers(0, 4, m.shape)).astype(np.uint8)
        for m in labels
    ]
    return per_image_of(labels, guesses, names=names)


def write_rows(folder, models=MODELS, seeds=3, **settings):
    """Write a run of each model and seed."""
    for number, (model, right) in enumerate(models.items()):
        for seed in range(seeds):
            paper = {"table": "cvpr_table2", "row": PAPER[number]}
            write_scored(
                folder / f"{model}_{seed}",
                record(right, 10 * number + seed, **settings),
                seed=seed,
                model__skips=[number],
                choices=CHOICES | {"model": model},
                paper=paper,
            )
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("sweep"))


def summary_of(folder):
    return read_summary([folder], None)


def test_real_step_is_beyond_chance_and_equal_rows_are_not(sweep):
    found = summary_of(sweep)  # rows: fcn16s, fcn32s, fcn8s
    rows = [row.name for row in found.rows]
    steps = {tuple(rows[i] for i in pair): step for pair, step in found.evidence.steps.items()}
    assert rows == ["fcn16s", "fcn32s", "fcn8s"]  # as the folders' names are sorted
    neighbours = {("fcn16s", "fcn32s"), ("fcn32s", "fcn8s")}
    assert set(steps) == neighbours | {("fcn16s", "fcn8s")}  # and in the paper
    assert steps["fcn16s", "fcn32s"].beyond_chance and steps["fcn32s", "fcn8s"].beyond_chance
    assert not steps["fcn16s", "fcn8s"].beyond_chance
    assert steps["fcn16s", "fcn32s"].p >= steps["fcn16s", "fcn32s"].difference.p
    back = found.evidence.step((rows.index("fcn32s"), rows.index("fcn16s")))
    assert back.difference.value == -steps["fcn16s", "fcn32s"].difference.value > 0


def test_step_is_the_paired_difference_of_the_runs(sweep):
    found = summary_of(sweep)
    rows = [row.name for row in found.rows]
    margins = [
        record(right, 10 * n + seed).margins()
        for n, right in ((0, 0.4), (1, 0.7))
        for seed in range(3)
    ]
    draws = resampled(margins).scores["miou"]
    values = [float(mean_iu(each.sum(0))) for each in margins]
    alone = difference(draws[3:], draws[:3], (values[3:], values[:3]), images=30)
    step = found.evidence.steps[rows.index("fcn16s"), rows.index("fcn32s")]
    assert (step.difference.value, step.difference.p) == pytest.approx((alone.value, alone.p))
    assert step.difference.interval == pytest.approx(alone.interval)


def test_gain_column_has_the_interval_and_agrees_with_the_table(sweep):
    found = summary_of(sweep)
    step = found.evidence.steps[1, 2]
    gain = found.rows[2].gain
    assert step.difference.value == pytest.approx(gain)
    assert gain_text(step.difference) in markdown(found).replace("&#91;", "[").replace("&#93;", "]")
    assert gain_text(step.difference) in Read(page(found)).text


def test_sentence_on_the_order_says_which_steps_are_beyond_chance(sweep):
    (order,) = [line for line in notes(summary_of(sweep)) if line.startswith("order")]
    assert re.search(r"[;:] beyond chance (is|are) FCN-32s to FCN-16s \+", order)
    assert "not beyond chance is FCN-16s to FCN-8s " in order


def test_image_and_seed_spread_are_told_apart(sweep):
    found = summary_of(sweep)
    lines = spread_cells(found.rows, found.evidence)
    assert lines[0] == [
        "row",
        "mean IU",
        "other images",
        "std over seeds",
        "other images and seeds",
    ]
    for row, spread in zip(found.rows, found.evidence.spreads, strict=True):
        assert spread.seeds == pytest.approx(row.spreads["miou"])
        assert spread.images.low < row.scores["miou"] < spread.images.high
        assert np.ptp(spread.both) > np.ptp(spread.images)


def test_single_seeds_draw_images_only(tmp_path):
    found = summary_of(write_rows(tmp_path, seeds=1))
    assert all(spread.both is None for spread in found.evidence.spreads)
    assert {line[3] for line in step_cells(found.rows, found.evidence)[1:]} == {"images"}


def test_classes_are_corrected_for_all_steps(sweep):
    found = summary_of(sweep)
    cells = class_cells(found.rows, found.evidence)
    assert [line[0] for line in cells[1:]] == ["background", "disc", "ring", "bar"]
    step = cells[0].index("fcn16s to fcn32s"), cells[0].index("fcn16s to fcn8s")
    assert all(line[step[0]].endswith(" *") for line in cells[1:])
    assert not any(line[step[1]].endswith(" *") for line in cells[1:])


def test_old_runs_have_no_intervals_and_the_report_says_so(sweep, tmp_path):
    write_rows(tmp_path)
    for seed in range(2):
        (tmp_path / f"fcn16s_{seed}" / IMAGES).unlink()
    found = summary_of(tmp_path)
    assert any(
        line.startswith("no intervals for fcn16s: no images.npz in 2 of 9 runs (older version)")
        for line in found.evidence.problems
    )
    rows = [row.name for row in found.rows]
    pairs = [tuple(rows[i] for i in pair) for pair in found.evidence.steps]
    assert pairs == [("fcn32s", "fcn8s")]
    assert found.evidence.spreads[rows.index("fcn16s")] is None and page(found)


def test_damaged_counts_cost_only_the_intervals_of_their_row(tmp_path):
    write_rows(tmp_path, seeds=1)
    (tmp_path / "fcn8s_0" / IMAGES).write_bytes(b"PK")
    found = summary_of(tmp_path)
    assert any("fcn8s_0/images.npz: damaged" in line for line in found.evidence.problems)
    assert len(found.evidence.steps) == 1 and page(found)


def test_rows_on_other_images_are_not_compared_and_an_image_is_named(tmp_path):
    write_rows(tmp_path, models={"fcn32s": 0.4}, seeds=1)
    other = record(0.7, 3, names=[f"room_{i}" for i in range(30)])
    write_scored(tmp_path / "z", other, model__skips=[1], choices=CHOICES | {"model": "fcn16s"})
    found = summary_of(tmp_path)
    assert not found.evidence.steps
    why = "different images: val_0 only in the first, val_1 only in the first, val_2 only in the"
    assert found.evidence.problems == [
        f"fcn32s and fcn16s are not compared: {why} first and 57 more"
    ]


def test_few_images_give_no_intervals(tmp_path):
    found = summary_of(write_rows(tmp_path, seeds=1, images=9))
    assert not found.evidence.steps and found.evidence.spreads == [None] * 3
    (problem,) = found.evidence.problems
    assert problem.startswith("no intervals: 9 images are too few, 10 are needed")


def test_two_runs_are_tested_also_as_seeds_of_one_row(sweep, capsys):
    folders = [str(sweep / f"fcn32s_{seed}") for seed in range(2)]
    found = read_summary(folders, None)
    margins = [record(0.4, seed).margins() for seed in range(2)]
    value = float(mean_iu(margins[1].sum(0)) - mean_iu(margins[0].sum(0)))
    assert len(found.rows) == 1 and found.two.value == pytest.approx(value)
    assert any(line.startswith(f"{folders[0]} to {folders[1]}: ") for line in notes(found))
    assert read_summary([folders[0], str(sweep / "fcn16s_0")], None).two is None  # a step instead


def test_two_runs_on_other_images_are_refused_by_name(tmp_path):
    for name, first in (("a", 0), ("b", 1)):  # the same names for other scenes
        write_scored(tmp_path / name, record(0.5, 0, first=first), seed=first)
    done = fcnexp("report", "a", "b", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    said = "error: a and b: different ground truth: val_0 and 29 more have the same name, but other"
    assert done.stderr.startswith(said)
    names = [f"room_{i}" for i in range(30)]
    write_scored(tmp_path / "c", record(0.5, 0, names=names), seed=2)
    with pytest.raises(DataError, match="different images: val_0 only in the first"):
        read_summary([tmp_path / "a", tmp_path / "c"], None)


def test_class_can_be_left_out(sweep):
    found = read_summary([sweep], "background")
    step = found.evidence.steps[1, 2]
    assert step.difference.value == pytest.approx(found.rows[2].gain)


def test_csv_has_the_evidence(sweep, tmp_path):
    done = fcnexp("report", str(sweep), "output=r.csv", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "r.csv").open() as file:
        first, second, *_ = csv.DictReader(file)
    assert first["gain_low"] == "" and float(first["miou_low"]) < float(first["miou"])
    found = summary_of(sweep).evidence.steps[0, 1]
    assert float(second["gain_high"]) == found.difference.interval.high
    assert float(second["gain_p_holm"]) == found.p


def test_sizes_are_summed_over_seeds_and_can_be_chosen(sweep, tmp_path):
    found = summary_of(sweep)
    lines = size_cells(found.rows, found.evidence, "missed")
    assert lines[0] == ["size (px)", "objects", "fcn16s", "fcn32s", "fcn8s"]
    other = size_cells(found.rows, found.evidence, "missed", (3, 4.5))
    assert [line[0] for line in other[1:]] == ["< 3", "3-4.5", ">= 4.5"]
    assert sum(int(line[1]) for line in other[1:]) == sum(int(line[1]) for line in lines[1:])
    done = fcnexp(
        "report", str(sweep), "sizes=3,4.5", "output=r.md", folder=tmp_path, cache=tmp_path
    )
    assert done.returncode == 0 and "| 3-4.5 |" in (tmp_path / "r.md").read_text()
    assert "touching objects of one class count as one" in done.stdout


@pytest.mark.parametrize("given", ["", "8,4", "0,3", "x", "3,3", "nan", "1,inf"])
def test_wrong_sizes_give_one_line(sweep, tmp_path, given):
    done = fcnexp("report", str(sweep), f"sizes={given}", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "sizes=" in done.stderr


def test_worst_images_and_changes_are_sorted(sweep):
    found = summary_of(sweep)
    names, scores = scores_by_image(found.evidence)
    own = [image_iu(record(0.7, 20 + seed).margins()) for seed in range(3)]
    assert scores[2] == pytest.approx(np.mean(own, 0).tolist())
    worst = worst_cells(found.rows, found.evidence)
    assert worst[1][0] == names[int(np.argmin(scores[2]))] and len(worst) == 9
    changes = [abs(float(line[3])) for line in change_cells(found.rows, found.evidence)[1:]]
    assert changes == sorted(changes, reverse=True) and len(changes) == 8


def test_page_has_evidence_objects_and_images(sweep):
    text = page(summary_of(sweep))
    found = Read(text)
    assert {"evidence", "objects", "images"} <= {*found.sections()}
    assert "touching objects of one class count as one" in found.text
    data = json.loads(found.scripts[0])
    assert len(data["images"]["names"]) == 30 and len(data["images"]["scores"]) == 3
    pictures = data["images"]["pictures"]
    assert all(len(each["rows"]) == 3 for each in pictures.values())
    uris = [pair[1] for each in pictures.values() for pair in each["rows"] if pair]
    assert all(uri.startswith("data:image/png;base64,") for uri in uris)
    assert data["objects"]["rows"][0]["objects"][1][0] > 0


def test_single_row_has_no_plots_over_rows(sweep):
    several, one = (
        page(read_summary([folder], None)) for folder in (sweep, next(sweep.glob("*/")))
    )
    assert '<figure class="plot">' in several.split('id="objects"')[1].split("</section>")[0]
    assert '<figure class="plot">' not in one.split('id="objects"')[1].split("</section>")[0]
    assert "<b>1</b> run in <b>1</b> row," in one and "runs in" in several


def test_names_of_images_are_escaped(tmp_path):
    names = [EVIL, *(f"val_{i}" for i in range(1, 30))]
    for number, right in enumerate((0.4, 0.7)):
        write_scored(
            tmp_path / f"{number}",
            record(right, 0, names=names),
            worst=0,
            model__skips=[number],
            choices=CHOICES | {"model": f"m{number}"},
        )
    found = Read(page(read_summary([tmp_path], None)))
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert EVIL in json.loads(found.scripts[0])["images"]["names"]


def test_page_of_runs_without_counts_has_none_of_it(tmp_path):
    write_run(tmp_path / "0")
    assert not {"evidence", "objects", "images"} & {*Read(page(summary_of(tmp_path))).sections()}
