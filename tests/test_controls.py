"""The papers' controls in complete runs: class balance from the data's labels, and masking."""

import json
import math

import pytest
import torch
from commands import TINY, fcnexp

from fcnexp import VOID, build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.data.collate import Batch, collate
from fcnexp.data.sample import Sample
from fcnexp.papers.published import TABLE1
from fcnexp.task.module import SegmentationTask
from fcnexp.train import class_weights

COMMAND = [*TINY, "logger=csv", "trainer=cpu", "hydra.run.dir=out"]


def task_with(*overrides: str) -> tuple[SegmentationTask, list[dict], list[torch.Tensor]]:
    """A task in eval mode with random scores, and lists of the inputs and outputs of its net."""
    cfg = check(compose_run(["backbone.widths=[4,4,6,6,8,8]", *overrides]))
    task = build.build_task(cfg, build.part(cfg, "data")).eval()
    for layer in task.net.score_layers():
        torch.nn.init.normal_(layer.weight)
    inputs: list[dict] = []
    outputs: list[torch.Tensor] = []

    def spy(net, arguments, output):
        inputs.append(arguments[0])
        outputs.append(output)

    task.net.register_forward_hook(spy)
    task.log = lambda *_, **__: None
    return task, inputs, outputs


def two_images(fields=("rgb",)) -> Batch:
    """Images of 40x48 and 36x52: background and a square of class 3 with a void edge."""
    samples = []
    for name, (h, w) in (("a", (40, 48)), ("b", (36, 52))):
        label = torch.zeros(h, w, dtype=torch.uint8)
        label[10:24, 12:30], label[12:22, 14:28] = VOID, 3
        stored = {
            field: torch.randint(0, 256, (3, h, w), dtype=torch.uint8)
            if field != "depth"
            else torch.randint(500, 9000, (1, h, w), dtype=torch.int32)
            for field in fields
        }
        samples.append(Sample(name, stored, label))
    return collate(samples)


def changed(batch: Batch, where: torch.Tensor) -> Batch:
    """The batch with inverted colours in the pixels `where`, bool (N, H, W)."""
    rgb = torch.where(where[:, None], 255 - batch.fields["rgb"], batch.fields["rgb"])
    return batch._replace(fields={"rgb": rgb})


def in_one_pass(task: SegmentationTask) -> None:
    """Let the padded batch go through the net as it is, as in training with batch normalisation."""
    task.net.score_each = lambda inputs, sizes: task.net(inputs)


SHOWN = {"background": [3], "foreground": [0], "shape": []}


@pytest.mark.parametrize("side", SHOWN)
@pytest.mark.parametrize("one_by_one", [False, True])
def test_loss_depends_on_visible_pixels_only(side, one_by_one):
    task, _, _ = task_with(f"masking.train={side}")
    if not one_by_one:
        in_one_pass(task)
    batch = two_images()
    shown = torch.isin(batch.label, torch.tensor(SHOWN[side], dtype=torch.uint8))
    first = task.training_step(batch, 0)
    assert torch.equal(task.training_step(changed(batch, ~shown), 0), first)
    if side != "shape":
        assert abs(task.training_step(changed(batch, shown), 0) - first) > 1e-3


@pytest.mark.parametrize("side", SHOWN)
def test_masking_of_test_applies_to_scores_and_not_to_training(side):
    task, _, outputs = task_with(f"masking.test={side}")
    in_one_pass(task)
    batch = two_images()
    shown = torch.isin(batch.label, torch.tensor(SHOWN[side], dtype=torch.uint8))
    everything = torch.ones_like(shown)
    for where in (~shown, shown, everything):
        task.validation_step(changed(batch, where & (batch.label != VOID)), 0)
    hidden, seen, both = outputs
    assert torch.equal(seen, both)  # the masked pixels make no difference
    assert side == "shape" or not torch.equal(hidden, seen)
    first = task.training_step(batch, 0)
    assert task.training_step(changed(batch, everything), 0) != first


def test_shape_is_white_on_the_mean_colour_in_every_field():
    """White is the stored value 255 after the recipe; the networks' means are the release's."""
    task, inputs, _ = task_with("data=rooms", "modality=rgbd", "masking.train=shape")
    in_one_pass(task)
    batch = two_images(("rgb", "depth"))
    task.training_step(batch, 0)
    colour = [(255 - m) / s for m, s in zip(*colour_recipe(task), strict=True)]
    white = {"rgb": colour, "depth": [math.log(255) - task.recipe.fields["depth"].mean]}
    for name, values in white.items():
        expected = torch.tensor(values).view(1, -1, 1, 1) * (batch.label == 3)[:, None]
        torch.testing.assert_close(inputs[0][name], expected)
        assert min(map(abs, values)) > 0.5  # differs from the mean


def colour_recipe(task: SegmentationTask) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return task.recipe.fields["rgb"].mean, task.recipe.fields["rgb"].std


def test_pictures_are_masked_like_the_scores_and_unlabelled_images_are_not():
    task, inputs, _ = task_with("masking.test=background")
    batch = two_images()
    fields, label = {"rgb": batch.fields["rgb"][0, :, :40, :48]}, batch.label[0, :40, :48]
    task.label_image(fields, label)
    task.label_image(fields)
    masked, whole = (found["rgb"][0] for found in inputs)
    assert torch.equal(masked, whole * (label == 3)) and whole[:, label == 0].any()


def test_checkpoint_is_evaluated_with_the_masking_of_its_run(tmp_path):
    command = [*COMMAND, "masking.train=foreground", "masking.test=foreground"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    again = ["checkpoint=out/checkpoints/last.ckpt", "workers=0", "trainer=cpu", "pictures=1"]
    done = fcnexp("evaluate", *again, "hydra.run.dir=again", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (
        json.loads((tmp_path / r / "result.json").read_text()) for r in ("out", "again")
    )
    assert first["masked"] == second["masked"] == "foreground"
    assert first["scores"] == second["scores"]
    matrices = [(tmp_path / run / "confusion.csv").read_text() for run in ("out", "again")]
    assert matrices[0] == matrices[1]


def test_class_weights_come_from_the_training_labels(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FCNEXP_CACHE", str(tmp_path))
    cfg = check(compose_run([*TINY, "regime.loss.balance=inverse"]))
    data = build.build_data(cfg)
    data.setup("fit")
    labels = torch.cat([data.train[i].label.flatten() for i in range(6)])
    pixels = torch.bincount(labels[labels != VOID].long(), minlength=8).double()
    present = pixels > 0
    expected = torch.where(present, pixels.sum() / (present.sum() * pixels), 0)
    weights = class_weights(cfg, data)
    assert weights == pytest.approx(expected.tolist())
    task = build.build_task(cfg, data.data, weights)
    torch.testing.assert_close(task.loss.weights, expected.float())
    share, weight = f"{100 * pixels[0] / pixels.sum():.2f}", f"{weights[0]:.3g}"
    shown = capsys.readouterr().out
    assert any("background" in s and share in s and weight in s for s in shown.splitlines())


def test_balanced_run_completes_and_a_run_without_training_counts_no_labels(tmp_path):
    command = [*COMMAND, "regime.loss.balance=median", "regime.loss.keep=0.5"]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "Class balance" in done.stdout, done.stderr
    scored = [*command, "regime.steps=0", "hydra.run.dir=scored", "init=checkpoint"]
    scored += ["init.path=out/checkpoints/last.ckpt", "masking.test=background"]
    done = fcnexp("train", *scored, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0 and "Class balance" not in done.stdout, done.stderr
    assert json.loads((tmp_path / "scored/result.json").read_text())["masked"] == "background"


def test_patches_are_as_large_as_the_papers_receptive_field():
    """404 for FCN-VGG16 (table 1), which `explain` derives, too; see test_explain."""
    augment = build.part(compose_run(["augment=patch"]), "augment")
    sample = Sample(
        "a", {"rgb": torch.zeros(3, 500, 410, dtype=torch.uint8)}, torch.zeros(500, 410)
    )
    assert augment(sample, 0).label.shape == (TABLE1["VGG16"].field, TABLE1["VGG16"].field)
