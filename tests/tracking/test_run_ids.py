"""What W&B runs are called."""

from fcnexp.tracking.run_ids import facts_of, run_id, tags

CONFIG = {"seed": 3, "paper": {"table": "cvpr_table2", "row": "FCN-8s"}}
CHOICES = {"model": "fcn8s", "backbone": "vgg16", "experiment": "voc_fcn8s", "masking": None}


def test_single_run_is_called_after_its_choices_and_its_folder(tmp_path):
    facts = facts_of(CONFIG, CHOICES, tmp_path / "2026-11-21", goes_on=False)
    assert facts.name == "fcn8s_vgg16_seed3_2026-11-21"
    assert facts.group is None and facts.kind == "run"


def test_job_and_its_stages_are_of_the_sweep(tmp_path):
    job = tmp_path / "table2" / "fcn8s_vgg16_seed3_0123456789"
    job.mkdir(parents=True)
    (job / "job.json").touch()
    whole = facts_of(CONFIG, CHOICES, job, goes_on=False)
    stage = facts_of(CONFIG, CHOICES, job / "stages/fcn32s", goes_on=False)
    assert (whole.name, whole.group, whole.kind) == (job.name, "table2", "run")
    assert (stage.name, stage.group, stage.kind) == (f"{job.name}_fcn32s", "table2", "stage")
    assert whole.id != stage.id


def test_tags_are_what_a_run_is_looked_for_by():
    assert tags(CONFIG, CHOICES) == ["voc_fcn8s", "cvpr_table2", "FCN-8s", "fcn8s", "vgg16"]
    assert tags({"paper": None}, {"model": "fcn8s", "backbone": "x" * 99}) == ["fcn8s", "x" * 64]


def test_id_is_kept_where_a_run_goes_on_and_new_elsewhere(tmp_path):
    first = run_id(tmp_path / "a", "0123456789", goes_on=False)
    assert first.startswith("0123456789-") and len(first) == 19
    assert run_id(tmp_path / "a", "0123456789", goes_on=True) == first
    assert run_id(tmp_path / "b", "0123456789", goes_on=True) != first  # nothing is kept there
    anew = run_id(tmp_path / "a", "0123456789", goes_on=False)
    assert anew != first and run_id(tmp_path / "a", "0123456789", goes_on=True) == anew
