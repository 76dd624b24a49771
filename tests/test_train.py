"""Training itself: what a step sees, and that it repeats."""

import json
import subprocess
import sys

import pytest
import torch
from commands import TINY, fcnexp
from fake_data import nyud_tree, voc_tree

from fcnexp import build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.data.collate import collate
from fcnexp.data.sample import Sample
from fcnexp.run import trainers
from fcnexp.task.module import SegmentationTask

SMALL = [
    *("data=voc", "logger=csv", "trainer=cpu", "augment=none"),
    *("regime.steps=3", "regime.score_every=3", "regime.batch_size=2"),
]


@pytest.fixture
def voc(tmp_path) -> str:
    return str(voc_tree(tmp_path / "voc", train=("a", "b", "c", "d", "e"), val=("x", "y")))


def fit(voc: str, folder, *overrides: str) -> tuple[SegmentationTask, list[list[str]]]:
    """Train; returns the task and the names of the images of each pass."""
    cfg = check(compose_run([*SMALL, f"data.root={voc}", *overrides]))
    torch.manual_seed(0)
    data = build.build_data(cfg)
    data.setup("fit")
    task = build.build_task(cfg, data.data)
    passes: list[list[str]] = []
    step = task.training_step

    def spy(batch, batch_idx):
        passes.append(list(batch.names))
        return step(batch, batch_idx)

    task.training_step = spy
    trainers.build_trainer(cfg, folder, []).fit(task, data)
    return task, passes


def weights(task: SegmentationTask) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in task.net.parameters()]


def test_accumulation_takes_as_many_passes_as_it_says(voc, tmp_path):
    task, passes = fit(voc, tmp_path, "regime.accumulate=4", "workers=0")
    assert task.global_step == 3 and [len(names) for names in passes] == [2] * 12
    drawn = [name for names in passes for name in names]
    assert all(sorted(drawn[i : i + 5]) == list("abcde") for i in (0, 5, 10, 15))


def test_accumulated_gradient_is_the_mean_over_passes(voc, tmp_path):
    """Plain SGD without momentum: one step of 2 passes of 1 image is the mean of both steps."""
    plain = [
        *("regime=accum", "regime.optimizer.momentum=0", "regime.weight_decay=0", "workers=0"),
        *(
            "regime.multipliers.bias=[1,0]",
            "backbone=googlenet",
            "regime.steps=1",
            "regime.loss.reduction=sum",
        ),
    ]
    one, two = ["regime.batch_size=1"], ["regime.batch_size=2", "regime.accumulate=1"]
    start, _ = fit(voc, tmp_path / "0", *plain, *one, "regime.lr=0")
    apart, names = fit(voc, tmp_path / "1", *plain, *one, "regime.accumulate=2", "regime.lr=1e-7")
    together, more = fit(voc, tmp_path / "2", *plain, *two, "regime.lr=1e-7")
    assert sum(names, []) == sum(more, [])
    score = [task.net.score_layers()[0].weight.detach() for task in (start, apart, together)]
    assert not torch.equal(score[0], score[1])
    torch.testing.assert_close(score[1], score[2])


def test_same_seed_same_weights_whatever_the_workers(voc, tmp_path):
    first, _ = fit(voc, tmp_path / "0", "workers=0", "augment=crop")
    second, _ = fit(voc, tmp_path / "1", "workers=2", "augment=crop")
    other, _ = fit(voc, tmp_path / "2", "workers=0", "augment=crop", "seed=1")
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(other), strict=True))


def test_clipping_works_with_a_fused_optimiser(voc, tmp_path):
    fit(voc, tmp_path / "0", "workers=0", "regime.clip=1e-9", "trainer.precision=bf16-mixed")


@pytest.mark.parametrize("modality", ["rgb", "hha", "depth", "rgbd", "rgb_hha"])
def test_every_modality_trains_scores_and_evaluates(modality, tmp_path):
    root = nyud_tree(tmp_path / "nyud", train=("5003", "5004"))
    command = [
        *("data=nyud", f"data.root={root}", f"modality={modality}", "logger=csv", "trainer=cpu"),
        *("regime.steps=2", "regime.score_every=2", "regime.batch_size=2", "workers=0"),
        *("augment=crop", "augment.crop=16", "pictures=1", "hydra.run.dir=out"),
    ]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    trained = json.loads((tmp_path / "out/result.json").read_text())
    checkpoint = ["checkpoint=out/checkpoints/last.ckpt", "workers=0", "hydra.run.dir=again"]
    done = fcnexp("evaluate", *checkpoint, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    scored = json.loads((tmp_path / "again/result.json").read_text())
    assert scored["scores"] == trained["scores"] and scored["images"] == 2
    assert scored["pixels"] == 2 * (20 * 24 - 3)  # (0, 0), (18, 23), (19, 22): void


def test_generated_rooms_train_with_two_streams(tmp_path):
    command = [
        *("data=rooms", "data.num_train=4", "data.num_val=2", "data.size=[48,64]", "workers=0"),
        *("modality=rgb_hha", "regime.steps=2", "regime.score_every=2", "regime.batch_size=2"),
        *("logger=csv", "trainer=cpu", "pictures=2", "hydra.run.dir=out"),
    ]
    done = fcnexp("train", *command, folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["images"] == 2 and set(result["class_iou"]) >= {"floor", "rug", "picture", "ball"}
    assert (tmp_path / "out/pictures/sheet.png").is_file()
    assert all(result[fact] > 0 for fact in ("images_per_second", "ms_per_image", "parameters"))
    done = fcnexp("report", "out", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out/report.html").read_text()
    shown = ("scores", "curves", "classes", "confusion", "pictures", "cost", "again")
    assert [f'<section id="{name}">' in page for name in shown] == [True] * len(shown)
    assert page.count("<img data-of=") == 2 * 3  # of each image: itself, truth, prediction


@pytest.mark.parametrize(("reduction", "share"), [("sum", 2), ("image_means", 1)])
def test_gradient_of_a_padded_batch_is_that_of_its_images(reduction, share):
    """Sum of single-image gradients, or their mean where the loss is divided by the images."""
    cfg = check(
        compose_run(
            [
                *("backbone=googlenet", "model=fcn8s", "data=voc", "init=scratch"),
                f"regime.loss.reduction={reduction}",
            ]
        )
    )
    task = build.build_task(cfg, build.part(cfg, "data")).double().eval()
    for layer in task.net.score_layers():
        torch.nn.init.normal_(layer.weight)
    apply = task.recipe.apply
    task.recipe.apply = lambda fields, sizes: {
        n: x.double() for n, x in apply(fields, sizes).items()
    }
    images = []
    for i, (h, w) in enumerate([(40, 57), (51, 33)]):
        rgb = torch.randint(0, 256, (3, h, w), dtype=torch.uint8)
        label = torch.randint(0, 21, (h, w), dtype=torch.uint8)
        images.append(Sample(str(i), {"rgb": rgb}, label))

    def gradient(samples: list[Sample]) -> list[torch.Tensor]:
        batch = collate(samples)
        task.zero_grad()
        task.loss(task(batch.fields, batch.sizes), batch.label).backward()
        return [p.grad.clone() for p in task.net.parameters()]

    together, *apart = (gradient(part) for part in (images, images[:1], images[1:]))
    for both, first, second in zip(together, *apart, strict=True):
        torch.testing.assert_close(both, (first + second) / share)


def test_deconvnet_is_scored_again_and_gone_on_from(tmp_path):
    net = [*TINY, "model=deconvnet", "logger=csv", "trainer=cpu"]
    weights = "out/checkpoints/last.ckpt"
    done = fcnexp("train", *net, "hydra.run.dir=out", folder=tmp_path, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    for command, arguments in (
        ("evaluate", [f"checkpoint={weights}", "workers=0", "trainer=cpu"]),
        ("train", [*net, "regime.steps=0", "init=checkpoint", f"init.path={weights}"]),
    ):
        folder = f"hydra.run.dir={command}"
        done = fcnexp(command, *arguments, folder, folder=tmp_path, cache=tmp_path)
        assert done.returncode == 0, done.stderr
        again = json.loads((tmp_path / command / "result.json").read_text())
        assert again["scores"] == json.loads((tmp_path / "out/result.json").read_text())["scores"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "least"), [([], 0.70), (["model=fcn8s", "backbone=googlenet"], 0.60)]
)
def test_the_readmes_commands_learn(tmp_path, overrides, least):
    """From scratch on `shapes`, some minutes each on two idle cores."""
    command = [sys.executable, "-m", "fcnexp.train", *overrides, "hydra.run.dir=out"]
    subprocess.run(command, cwd=tmp_path, check=True)
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["scores"]["miou"] >= least
