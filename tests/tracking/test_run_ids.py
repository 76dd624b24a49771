"""Names and ids of W&B runs."""

from fcnexp.tracking.run_ids import facts_of, run_id, tags

CONFIG = {"seed": 3, "paper": {"table": "cvpr_table2", "row": "FCN-8s"}}
CHOICES = {"model": "fcn8s", "backbone": "vgg16", "experiment": "voc_fcn8s", "masking": None}


def test_single_run_is_named_after_its_options_and_folder(tmp_path):
    facts = facts_of(CONFIG, CHOICES, tmp_path / "2026-11-21", resumed=False)
    assert facts.name == "fcn8s_vgg16_seed3_2026-11-21"
    assert facts.group is None and facts.kind == "run"


def test_job_and_its_stages_are_grouped_by_sweep(tmp_path):
    job = tmp_path / "table2" / "fcn8s_vgg16_seed3_0123456789"
    job.mkdir(parents=True)
    (job / "job.json").touch()
    run = facts_of(CONFIG, CHOICES, job, resumed=False)
    stage = facts_of(CONFIG, CHOICES, job / "stages/fcn32s", resumed=False)
    assert (run.name, run.group, run.kind) == (job.name, "table2", "run")
    assert (stage.name, stage.group, stage.kind) == (f"{job.name}_fcn32s", "table2", "stage")
    assert run.id != stage.id


def test_tags_are_experiment_published_row_model_and_backbone():
    assert tags(CONFIG, CHOICES) == ["voc_fcn8s", "cvpr_table2", "FCN-8s", "fcn8s", "vgg16"]
    assert tags({"paper": None}, {"model": "fcn8s", "backbone": "x" * 99}) == ["fcn8s", "x" * 64]


def test_id_is_kept_if_a_run_is_resumed_and_new_otherwise(tmp_path):
    first = run_id(tmp_path / "a", "0123456789", resumed=False)
    assert first.startswith("0123456789-") and len(first) == 19
    assert run_id(tmp_path / "a", "0123456789", resumed=True) == first
    assert run_id(tmp_path / "b", "0123456789", resumed=True) != first  # no id is stored there
    restarted = run_id(tmp_path / "a", "0123456789", resumed=False)
    assert restarted != first
    assert run_id(tmp_path / "a", "0123456789", resumed=True) == restarted
