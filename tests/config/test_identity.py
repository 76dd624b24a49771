"""Which settings count."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fcnexp.config import trainer_arguments
from fcnexp.config.compose import compose_run
from fcnexp.config.identity import FREE, counted, digest
from fcnexp.config.job_names import digest_of

OTHER = {
    **{
        "resume": True,
        "dry_run": True,
        "fail_fast": True,
        "plain": "all",
        "workers": 3,
        "pictures": 0,
    },
    **{"data.root": "elsewhere", "logger.wandb.project": "mine", "paper": {"miou": 62.7}},
}


@pytest.mark.parametrize("key", OTHER)
def test_what_changes_no_number_does_not_count(key):
    cfg = compose_run(["logger=wandb"])
    before = digest_of(cfg)
    OmegaConf.update(cfg, key, OTHER[key], force_add=True)
    assert digest_of(cfg) == before


@pytest.mark.parametrize(
    "override", ["seed=1", "regime.lr=1e-3", "model=fcn16s", "data.seed=8", "trainer=gpu"]
)
def test_all_else_counts(override):
    assert digest_of(compose_run([override])) != digest_of(compose_run([]))


def test_two_names_of_float16_are_one_setting():
    named = {digest_of(compose_run([f"trainer.precision={p}"])) for p in ("fp16", "16-mixed", "16")}
    assert len(named) == 1 and digest_of(compose_run(["trainer.precision=bf16"])) not in named


def test_each_exception_is_a_key_of_some_config():
    known = OmegaConf.to_container(compose_run(["data=voc_sbd", "init=imagenet"]))
    known["init"]["first"] = compose_run(["init=staged"]).init.first
    known["data"]["bands"] = compose_run(["data=folder"]).data.bands
    known["trainer"] |= dict.fromkeys(trainer_arguments.FREE, True)  # as +trainer.NAME=VALUE
    for key in FREE:
        assert OmegaConf.select(OmegaConf.create(known), key, default="none") != "none", key


def test_whole_root_counts():
    """Two roots are two data sets, whatever they are called; generated scenes are the same."""
    own, scenes, voc = (
        {digest_of(compose_run([f"data={d}", f"data.root={r}"])) for r in ("a/c", "b/c", "b/d")}
        for d in ("folder", "shapes", "voc")
    )
    assert len(own) == 3 and len(scenes) == 1
    assert len(voc) == 3  # /one/VOC2012 and /two/VOC2012, too


def test_root_is_the_folder_that_it_leads_to(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "VOC2012").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    monkeypatch.chdir(tmp_path)
    roots = ["one/VOC2012", "./one/VOC2012/", f"{tmp_path}/one/VOC2012", "link/VOC2012"]
    same = {digest_of(compose_run(["data=voc", f"data.root={root}"])) for root in roots}
    two = digest_of(compose_run(["data=voc", "data.root=two/VOC2012"]))
    assert len(same) == 1 and two not in same
    monkeypatch.chdir(tmp_path / "two")  # the same words, another folder
    assert digest_of(compose_run(["data=voc", "data.root=one/VOC2012"])) not in same


@pytest.mark.parametrize("key", ["root", "sbd_root"])
def test_roots_of_one_name_are_two_jobs(key):
    roots = [f"data.{key}={place}/set" for place in ("/one", "/two")]
    assert len({digest_of(compose_run(["data=voc_sbd", root])) for root in roots}) == 2


@pytest.mark.parametrize("root", ["a\0b", "", "~nobody/x", "x" * 5000, None, 3])
def test_no_root_raises(root):
    assert len(digest({"data": {"_target_": "fcnexp.data.splits.Voc", "root": root}})) == 10


def test_numbers_that_follow_the_scale_count():
    typed = ["data=shapes", "backbone=tiny", "augment=deconvnet"]
    full, small = (digest_of(compose_run([*typed, f"scale={s}"])) for s in ("full", "small"))
    other = ["init=scratch", "regime=small", "head=linear"]  # what else scale=small sets
    assert full != small != digest_of(compose_run([*typed, *other]))
    resized = ["augment.resize=144", "augment.crop=128"]
    assert small == digest_of(compose_run([*typed, *other, *resized]))


def test_checkpoint_that_was_typed_counts():
    one, other = (compose_run(["init=checkpoint", f"init.path={name}"]) for name in "ab")
    assert digest_of(one) != digest_of(other)


def test_order_of_keys_and_the_way_of_writing_do_not_count():
    assert digest({"b": {"y": 1, "x": 2}, "a": 0}) == digest({"a": 0, "b": {"x": 2, "y": 1}})
    assert digest_of(compose_run(["seed='3'"])) == digest_of(compose_run(["seed=3"]))


def test_digest_is_the_same_in_every_version():
    """Sweeps that were finished must not begin anew. Source: sha256sum of the compact JSON."""
    assert (
        digest({"a": 1, "seed_free": None, "workers": 9, "data": {"root": "/y/x"}}) == "c02d6e40bf"
    )


def test_config_that_is_wrong_has_a_digest_too():
    cfg = compose_run(["init=checkpoint"])  # without its path
    cfg.regime.steps = "many"
    assert len(digest_of(cfg)) == 10


def test_counting_leaves_the_config_as_it_is():
    config = {"workers": 1, "data": {"root": "here", "seed": 7}}
    counts = {"data": {"root": str(Path.cwd() / "here"), "seed": 7}}
    assert counted(config) == counts and config["data"]["root"] == "here"
