"""Arguments for the Hydra that is installed, and for the coming one."""

import hydra
from omegaconf import OmegaConf

from fcnexp.cli.arguments import prepared
from fcnexp.config import hydra_versions


def test_what_a_node_names_may_be_called_and_nothing_else(monkeypatch):
    monkeypatch.setattr(hydra_versions, "ASKS", True)
    inner = "[{_target_: c.d}, [{_target_: a.B}]]"
    node = OmegaConf.create(f"{{_target_: a.B, _partial_: true, y: {inner}, z: {{_target_: 3}}}}")
    assert hydra_versions.whitelist(node) == {"_execution_whitelist_": ["a.B", "c.d"]}
    assert hydra_versions.whitelist(OmegaConf.create({"x": 1})) == {"_execution_whitelist_": []}
    monkeypatch.setattr(hydra_versions, "ASKS", False)
    assert hydra_versions.whitelist(node) == {}


def test_a_later_resolver_takes_the_place_of_an_earlier_one():
    for value in (1, 2):
        hydra_versions.register_resolver("fcnexp.of_a_test", lambda value=value: value)
        assert OmegaConf.create({"x": "${fcnexp.of_a_test:}"}).x == value
    OmegaConf.clear_resolver("fcnexp.of_a_test")


def test_sweep_files_choose_their_mode_where_hydra_does_not_let_them(monkeypatch):
    given = ["sweeps=table2_skips", "seed=0"]
    assert prepared(given, "train") == (
        given if hydra.__version__ < "1.4" else ["--multirun", *given]
    )
    monkeypatch.setattr(hydra_versions, "MODE_IS_TYPED", True)
    assert prepared(given, "train") == ["--multirun", *given]
    assert prepared(["seed=0"], "train") == ["seed=0"]
