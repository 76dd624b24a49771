"""Comparison of runs, from made-up records."""

import json
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import CHOICES, SCORES, write_run

from fcnexp.errors import DataError
from fcnexp.reporting.comparison import class_score_cells, compare
from fcnexp.reporting.page import page
from fcnexp.reporting.records import read_runs, run_folders
from fcnexp.reporting.setting_diff import all_differences
from fcnexp.reporting.summary import leftovers, notes, read_summary
from fcnexp.reporting.writing import CLASS_IU, markdown, print_summary


def rows_of(folder: Path):
    return compare(read_runs([folder]).finished).rows


def settings_of(folder: Path) -> list[dict[str, str]]:
    return [row.settings for row in rows_of(folder)]


def test_scores_are_means_over_seeds_with_their_sample_deviation(tmp_path):
    numbers = np.random.default_rng(0).random((2, 3, 5))  # settings, seeds, scores and seconds
    for setting, keep in enumerate((1, 0.5)):
        for seed in range(3):
            *values, seconds = numbers[setting, seed].tolist()
            write_run(
                tmp_path / f"{3 * setting + seed}",
                seed=seed,
                workers=seed,
                seconds=seconds,
                regime__loss__keep=keep,
                **dict(zip(SCORES, values, strict=True)),
            )
    rows = rows_of(tmp_path)
    mean, spread = numbers.mean(1), numbers[..., 2].std(1, ddof=1)
    for row, expected, deviation in zip(rows, mean, spread, strict=True):
        assert [row.scores[name] for name in SCORES] == pytest.approx(expected[:4].tolist())
        assert (row.fact("train_seconds"), row.spreads["miou"]) == pytest.approx(
            (expected[4], deviation)
        )
        assert row.seeds == [0, 1, 2]
    assert rows[0].gain is None
    assert rows[1].gain == pytest.approx(mean[1, 2] - mean[0, 2])
    assert [row.settings for row in rows] == [{"keep": "1"}, {"keep": "0.5"}]


def test_iu_of_each_class_is_the_mean_over_seeds(tmp_path, capsys):
    for keep, seed, disc in ((1, 0, 0.1), (1, 1, 0.3), (0.5, 0, 0.7)):
        run = write_run(tmp_path / f"{keep} {seed}", seed=seed, regime__loss__keep=keep)
        result = json.loads((run / "result.json").read_text())
        result["class_iou"] |= {"disc": disc, "bar": None if seed else 0.2}
        (run / "result.json").write_text(json.dumps(result))
    summary = read_summary([tmp_path], None)
    assert class_score_cells(summary.rows) == [
        ["class", "0.5", "1"],
        ["background", "90.0", "90.0"],
        ["disc", "70.0", "20.0"],
        ["ring", "-", "-"],
        ["bar", "20.0", "20.0"],
    ]
    assert f"{CLASS_IU}:\n\n| class | 0.5 | 1 |" in markdown(summary)
    print_summary(summary)
    assert "disc         70.0   20.0" in capsys.readouterr().out


def test_single_seed_has_no_spread_and_missing_scores_are_ignored(tmp_path):
    write_run(tmp_path / "0", fw_iou=None)
    write_run(tmp_path / "1", fw_iou=0.3, seed=1)
    write_run(tmp_path / "2", regime__lr=0.2, miou=None)
    first, second = rows_of(tmp_path)
    assert first.scores["fw_iou"] == 0.3 and first.spreads["miou"] == 0
    assert (second.scores["miou"], second.spreads["miou"], second.gain) == (None, None, None)


def test_repeated_seed_is_counted_once_and_listed(tmp_path):
    write_run(tmp_path / "a", miou=0.4)
    write_run(tmp_path / "b", miou=0.8)
    write_run(tmp_path / "c", miou=0.6, seed=1)
    rows, repeats = compare(read_runs([tmp_path]).finished)
    assert repeats == [tmp_path / "b"] and rows[0].seeds == [0, 1]
    assert rows[0].scores["miou"] == pytest.approx(0.5)


def test_option_stands_for_the_keys_it_determines(tmp_path):
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", model__skips=[16], choices=CHOICES | {"model": "fcn16s"})
    assert settings_of(tmp_path) == [{"model": "fcn8s"}, {"model": "fcn16s"}]


def test_key_that_was_typed_or_is_not_determined_is_listed_after_the_option(tmp_path):
    other = CHOICES | {"model": "fcn16s"}
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", model__skips=[16], model__fusion="max", choices=other)
    assert settings_of(tmp_path)[1] == {
        "model": "fcn16s"
    }  # with one run each, the option may determine it
    write_run(tmp_path / "2", model__skips=[16], choices=other)
    assert [row["fusion"] for row in settings_of(tmp_path)] == ["sum", "max", "sum"]
    write_run(tmp_path / "typed/0", typed=["model", "model.fusion"])
    write_run(
        tmp_path / "typed/1",
        **{"model__skips": [16], "model__fusion": "max", "choices": other},
    )
    assert settings_of(tmp_path / "typed")[1] == {"model": "fcn16s", "fusion": "max"}


def test_difference_in_another_group_is_never_hidden(tmp_path):
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", model__skips=[], regime__lr=1e-10, choices=CHOICES | {"model": "a"})
    assert settings_of(tmp_path)[1] == {"model": "a", "lr": "1e-10"}


def test_experiment_stands_for_all_keys_it_sets(tmp_path):
    for name, size, keep in (("keep_all", 8, 1), ("keep_half", 16, 0.5)):
        changes = {"regime__batch_size": size, "regime__loss__keep": keep}
        write_run(tmp_path / name, choices=CHOICES | {"experiment": name}, **changes)
    assert settings_of(tmp_path) == [{"experiment": "keep_all"}, {"experiment": "keep_half"}]
    other = CHOICES | {"experiment": "max", "model": "fcn16s"}
    write_run(tmp_path / "max", choices=other, model__skips=[16], model__fusion="max")
    same = CHOICES | {"experiment": "other_max"}  # same model as others, different fusion
    write_run(tmp_path / "other_max", choices=same, model__fusion="max")
    assert [set(row) for row in settings_of(tmp_path)] == [{"experiment"}] * 4
    plain = {"choices": CHOICES | {"model": "fcn32s"}, "model__skips": []}
    write_run(tmp_path / "plain", **plain)  # no experiment, with two different models
    write_run(tmp_path / "plain_8s", regime__lr=3)
    assert {"experiment", "model"} <= set(settings_of(tmp_path)[0])


def test_option_typed_in_addition_to_an_experiment_is_listed(tmp_path):
    for name, model, skips in (("a", "fcn8s", [16, 8]), ("b", "fcn16s", [16])):
        choices = CHOICES | {"experiment": name, "model": model}
        typed = ["experiment", "model"]
        write_run(tmp_path / name, choices=choices, typed=typed, model__skips=skips)
    assert settings_of(tmp_path)[1] == {"model": "fcn16s", "experiment": "b"}


def test_records_without_options_are_distinguished_by_keys(tmp_path):
    for name, target, dropout in (("0", "FcHead", 0.5), ("1", "LinearHead", 0)):
        folder = write_run(
            tmp_path / name, head__dropout=dropout, head___target_=f"fcnexp.nn.heads.{target}"
        )
        result = json.loads((folder / "result.json").read_text())
        del result["choices"], result["typed"]
        (folder / "result.json").write_text(json.dumps(result))
    rows = [{"head": "FcHead", "dropout": "0.5"}, {"head": "LinearHead", "dropout": "0"}]
    assert settings_of(tmp_path) == rows
    write_run(tmp_path / "2", head__dropout=0.1)  # this record has options
    assert settings_of(tmp_path) == [*rows, {"head": "FcHead", "dropout": "0.1"}]


def test_key_is_shortened_as_far_as_it_stays_unique(tmp_path):
    write_run(tmp_path / "0", augment={"keep": 1})
    write_run(tmp_path / "1", augment={"keep": 1}, regime__loss__keep=0.5)
    assert settings_of(tmp_path)[1] == {"loss.keep": "0.5"}


def test_all_differing_keys_are_listed_with_a_dash_for_missing_ones(tmp_path):
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", model__skips=[16], augment={"keep": 1}, seed=4, workers=3)
    runs = read_runs([tmp_path]).finished
    assert all_differences(runs) == {"model.skips": ["[16, 8]", "[16]"], "augment.keep": ["-", "1"]}


def test_mean_iu_can_leave_a_class_out(tmp_path):
    write_run(tmp_path / "0")
    runs = read_runs([tmp_path]).finished
    for left_out, mean in (("background", (0.4 + 0.2) / 2), ("ring", (0.9 + 0.4 + 0.2) / 3)):
        assert compare(runs, left_out).rows[0].scores["miou"] == pytest.approx(mean)
    with pytest.raises(
        DataError, match=r"without=sky: .*/0 has no such class; choose one of backgr"
    ):
        compare(runs, "sky")


def test_runs_are_found_once_each_in_numeric_order(tmp_path):
    for name in ("10", "9", "1", "b/c"):
        write_run(tmp_path / name)
    write_run(tmp_path / "9/stages/fcn32s")
    write_run(tmp_path / "d/wandb/files")
    names = ["1", "9", "10", "b/c"]
    assert [str(f.relative_to(tmp_path)) for f in run_folders(tmp_path)] == names
    runs, unfinished, *_ = read_runs([tmp_path / "9", tmp_path, tmp_path / "b/c/../c"])
    assert [r.folder.name for r in runs] == ["9", "1", "10", "c"] and unfinished == []


def test_unfinished_run_is_listed(tmp_path):
    write_run(tmp_path / "0")
    (write_run(tmp_path / "1") / "result.json").unlink()
    runs, unfinished, *_ = read_runs([tmp_path])
    assert [run.folder.name for run in runs] == ["0"] and unfinished == [tmp_path / "1"]


OTHER = '{"status": "begun", "scores": {"miou": 1}}'


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"status": "done"}', '{"status": "x"}', "\xff", OTHER]
)
def test_damaged_result_is_named(tmp_path, text):
    (write_run(tmp_path / "0") / "result.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"0/result.json: damaged; remove it to leave this run"):
        read_runs([tmp_path])


@pytest.mark.parametrize("name", ["result.json", "job.json", "config.yaml"])
def test_damaged_record_leaves_out_only_its_run(tmp_path, name):
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", seed=1)
    (tmp_path / "1" / name).write_text("[half")
    records = read_runs([tmp_path])
    assert [run.folder.name for run in records.finished] == ["0"]
    assert records.unfinished == [tmp_path / "1"]
    (line,) = leftovers(read_summary([tmp_path], None))
    assert line.startswith(f"not finished: {tmp_path / '1' / name}: damaged; remove it")
    assert f"{tmp_path / '1' / name}: damaged" in page(read_summary([tmp_path], None))


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "\xff"])
def test_damaged_config_is_named(tmp_path, text):
    (write_run(tmp_path / "0") / "config.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"0/config.yaml: damaged; remove it to leave this run"):
        read_runs([tmp_path])


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state": "failed", "error": "x"}'])
def test_damaged_job_record_is_named(tmp_path, text):
    write_run(tmp_path / "0")
    (tmp_path / "0/job.json").write_text(text)
    with pytest.raises(DataError, match=r"0/job.json: damaged; remove it to leave this job out"):
        read_runs([tmp_path])


def test_numbers_in_the_names_of_rows_have_no_more_digits_than_keep_them_apart(tmp_path):
    rates = [0.07381070543530444, 7.726319876517107e-05, 0.5, 1e-5]
    for at, rate in enumerate(rates):
        write_run(tmp_path / "a" / f"{at}", regime__lr=rate)
    found = [row.settings["lr"] for row in rows_of(tmp_path / "a")]
    assert found == ["0.0738", "7.73e-05", "0.5", "1e-05"]
    for at, rate in enumerate([0.012345678, 0.012345, 0.0123]):
        write_run(tmp_path / "b" / f"{at}", regime__lr=rate)
    found = [row.settings["lr"] for row in rows_of(tmp_path / "b")]
    assert found == ["0.012346", "0.012345", "0.0123"]


def test_pruned_trials_are_counted_and_left_out_and_other_early_ends_told(tmp_path):
    reasons = (None, "pruned, as mean IU 10.1 % lags behind", "val/miou did not improve")
    for at, reason in enumerate(reasons):
        run = write_run(tmp_path / f"{at}", regime__lr=at / 8)
        result = json.loads((run / "result.json").read_text()) | {"stopped_early": reason}
        (run / "result.json").write_text(json.dumps(result))
    summary = read_summary([tmp_path], None)
    assert [row.name for row in summary.rows] == ["0.0", "0.25"]
    assert leftovers(summary) == ["pruned by a search: 1 run; search/trials.csv lists them"]
    early = "stopped early, so fewer steps; each result.json says why (0.25)"
    assert early in notes(summary)
    alone = read_summary([tmp_path / "1"], None)  # asked for by name
    assert len(alone.rows) == 1 and not leftovers(alone)
