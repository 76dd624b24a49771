"""A checkpoint of other classes: everything but the scores, and those by name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from commands import fcnexp
from fake_data import own_tree
from test_predict import SMALL, write_checkpoint

from fcnexp import build
from fcnexp.config.compose import compose_run
from fcnexp.data.palette import save_indexed
from fcnexp.data.voc import CLASS_NAMES
from fcnexp.errors import WeightsError
from fcnexp.nn.weights.class_rows import same_places

THREE = ("background", "lesion", "cat")  # two of VOC's, at 0 and 8


def chosen(folder: Path, names: tuple[str, ...], *overrides: str):
    """Return a config for own data with these classes that starts from net.ckpt, and the data."""
    if not (folder / "own").exists():
        own_tree(folder / "own")
        for mask in (folder / "own/masks").iterdir():
            save_indexed(mask, np.array([[0, 1, 2], [2, 1, 0]], np.uint8))
    (folder / "own/classes.yaml").write_text(f"classes: [{', '.join(names)}]\n")
    start = ["init=checkpoint", f"init.path={folder / 'net.ckpt'}", "trainer=cpu"]
    given = ["data=folder", f"data.root={folder / 'own'}", *SMALL, *start, *overrides]
    cfg = compose_run(given)
    return cfg, build.part(cfg, "data")


def started(folder: Path, names: tuple[str, ...], *overrides: str):
    """Return the net that starts from net.ckpt, its new tensors, and the file's weights."""
    cfg, data = chosen(folder, names, *overrides)
    net, _ = build.build_net(cfg, build.outputs_of(data))
    new = build.first_weights(cfg, net, data)
    stored = torch.load(folder / "net.ckpt", weights_only=True)["state_dict"]
    return net, new, {name.removeprefix("net."): value for name, value in stored.items()}


def test_score_rows_go_by_name_and_all_else_is_copied(tmp_path, caplog):
    caplog.set_level("INFO")
    path = write_checkpoint(tmp_path / "net.ckpt", *SMALL, "data=voc")
    net, new, stored = started(tmp_path, THREE)
    scores = {id(p) for layer in net.score_layers() for p in layer.parameters()}
    assert len(scores) == 6 and {id(tensor) for tensor in new} == scores
    for name, value in net.named_parameters():
        if id(value) in scores:
            assert torch.equal(value[0], stored[name][0]) and torch.equal(value[2], stored[name][8])
            assert not value[1].any() and len(value) == 3  # as a new score layer starts
        else:
            assert torch.equal(value, stored[name])
    assert caplog.messages[0] == (
        f"{path}: trained on 21 classes, not on these 3; scores copied by name: background, cat; "
        "new: lesion"
    )
    assert caplog.messages[1].startswith(f"{path}: copied all other layers; new: net.")


def test_new_scores_learn_at_the_rate_of_new_layers(tmp_path):
    """One step of plain SGD moves each parameter by its rate times its gradient."""
    write_checkpoint(tmp_path / "net.ckpt", *SMALL, "data=voc")
    rates = ["regime=accum", "regime.lr=0.01", "regime.new_lr=7", "regime.weight_decay=0"]
    cfg, data = chosen(tmp_path, THREE, *rates)
    task = build.build_task(cfg, data)
    scores = {id(p) for layer in task.net.score_layers() for p in layer.parameters()}
    before = {name: value.detach().clone() for name, value in task.net.named_parameters()}
    image = torch.rand(2, 3, 64, 64) * 100
    torch.nn.functional.cross_entropy(
        task.net({"rgb": image}), torch.randint(3, (2, 64, 64))
    ).backward()
    torch.optim.SGD(task.groups, lr=1).step()
    moved = 0
    for name, value in task.net.named_parameters():
        if value.ndim < 4 and id(value) not in scores:
            continue  # of batch normalisation
        rate = 0.01 * (2 if name.endswith("bias") else 1) * (7 if id(value) in scores else 1)
        torch.testing.assert_close(value, before[name] - rate * value.grad)
        moved += int(id(value) in scores and bool(value.grad.any()))
    assert moved == 6


def test_a_parent_of_other_classes_gives_what_it_has(tmp_path):
    write_checkpoint(tmp_path / "net.ckpt", *SMALL, "data=voc", "model=fcn16s")
    net, new, stored = started(tmp_path, THREE)
    by_name = {id(value): name for name, value in net.named_parameters()}
    assert [by_name[id(tensor)] in stored for tensor in new].count(False) == 2  # of pool3
    layer = net.scorers()["rgb"].score_layers()["score_pool4"]
    assert torch.equal(layer.weight[2], stored[by_name[id(layer.weight)]][8])


@pytest.mark.parametrize("dense", ["deconv_learned", "deconv_all", "deconv_d2l"])
def test_a_learned_interpolation_starts_anew(dense, tmp_path):
    parts = [f"dense={dense}", "model=fcn32s" if dense == "deconv_d2l" else "model=fcn16s"]
    write_checkpoint(tmp_path / "net.ckpt", *SMALL, "data=voc", *parts)
    cfg, data = chosen(tmp_path, THREE, *parts)
    net, _ = build.build_net(cfg, build.outputs_of(data))
    fresh = {name: value.clone() for name, value in net.state_dict().items()}
    new = {id(tensor) for tensor in build.first_weights(cfg, net, data)}
    ends = ("upsampling.kernel", "upscore.weight", "upscore.bias")
    kernels = {name: p for name, p in net.named_parameters() if name.endswith(ends)}
    assert kernels
    for name, kernel in kernels.items():
        assert id(kernel) in new and torch.equal(kernel, fresh[name]), name


@pytest.mark.parametrize(
    ("names", "copied"),
    [
        (CLASS_NAMES, range(21)),
        (("ground", *CLASS_NAMES[1:]), range(21)),  # a class by another name
        (CLASS_NAMES[::-1], range(20, -1, -1)),
        (("cat", "background"), (8, 0)),
    ],
    ids=["the same", "renamed", "another order", "fewer"],
)
def test_known_classes_are_not_new(names, copied, tmp_path):
    write_checkpoint(tmp_path / "net.ckpt", *SMALL, "data=voc")
    net, new, stored = started(tmp_path, names)
    weight = net.scorers()["rgb"].score_layers()["score_fr"].weight
    (name,) = (name for name, value in net.named_parameters() if value is weight)
    assert not new and torch.equal(weight, stored[name][list(copied)])


def test_a_net_with_new_classes_cannot_be_scored_untrained(tmp_path):
    write_checkpoint(tmp_path / "net.ckpt", *SMALL, "data=voc")
    cfg, data = chosen(tmp_path, THREE, "regime.steps=0")
    with pytest.raises(WeightsError, match="has no trained weights for score_fr, score_pool4"):
        build.build_task(cfg, data)


def test_another_net_is_still_refused(tmp_path):
    write_checkpoint(tmp_path / "net.ckpt", "backbone.widths=[2,2,3,3,4,5]", "data=voc")
    with pytest.raises(WeightsError, match="from a different net; size mismatch for net.scorer"):
        started(tmp_path, THREE)


@pytest.mark.parametrize(
    ("known", "names", "same"),
    [("ab", "ab", True), ("ab", "ac", True), ("ab", "cd", True), ("ab", "ba", False)]
    + [("ab", "abc", False), ("abc", "ab", False), ("abc", "bxc", False)],
)
def test_classes_need_matching_unless_equal_names_have_equal_places(known, names, same):
    assert same_places(list(known), list(names)) is same


def test_the_command_trains_on_other_classes(tmp_path):
    write_checkpoint(tmp_path / "net.ckpt", *SMALL, "data=voc")
    chosen(tmp_path, THREE)
    words = ["data=folder", "data.root=own", "init=checkpoint", "init.path=net.ckpt", *SMALL]
    words += ["regime.steps=1", "regime.batch_size=2", "logger=csv", "workers=0", "pictures=0"]
    done = fcnexp("train", *words, "hydra.run.dir=out", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    said = "net.ckpt: trained on 21 classes, not on these 3; scores copied by name: background, cat"
    assert f"{said}; new: lesion" in done.stdout and "new score weight" in done.stdout
    assert said in (tmp_path / "out/train.log").read_text()
