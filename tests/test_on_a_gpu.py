"""What holds on a GPU only: `pytest -m gpu`. Written without one at hand."""

import pytest
import torch
from commands import TINY

from fcnexp import build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.run import trainers
from fcnexp.run.precisions import first_factor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def trained(folder, *overrides: str):
    given = [*TINY, "logger=csv", "trainer=gpu", "trainer.precision=32-true", *overrides]
    cfg = check(compose_run(given))
    torch.manual_seed(0)
    data = build.build_data(cfg)
    data.setup("fit")
    task = build.build_task(cfg, data.data)
    trainer = trainers.build_trainer(cfg, folder, [])
    trainers.speed_up(cfg, task.net)
    trainer.fit(task, data)
    return task, data


@pytest.mark.parametrize(
    "override",
    [
        "trainer.compile=true",
        "trainer.compile=reduce-overhead",
        "trainer.activation_checkpointing=true",
        "workers=2",
    ],
)
def test_each_way_ends_near_the_weights_of_the_plain_one(override, tmp_path):
    crop = ["augment=crop", "augment.crop=48"]  # one size, as CUDA graphs want
    plain, _ = trained(tmp_path / "0", *crop)
    other, _ = trained(tmp_path / "1", *crop, override)
    pairs = zip(plain.net.state_dict().values(), other.net.state_dict().values(), strict=True)
    for one, another in pairs:
        torch.testing.assert_close(one, another, rtol=1e-2, atol=1e-3)


def test_bfloat16_trains_and_scores(tmp_path):
    task, _ = trained(tmp_path, "trainer.precision=bf16")
    assert task.matrix.sum() > 0 and len(task.scoring_seconds()) == 3
    assert all(seconds > 0 for seconds in task.scoring_seconds())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("clip", ["null", "1.0"])
def test_float16_trains_and_scores(reduction, clip, tmp_path):
    """Ends near the weights of float32, with a fused optimiser, and skips no step."""
    small = [f"regime.loss.reduction={reduction}", f"regime.clip={clip}"]
    plain, _ = trained(tmp_path / "0", *small)
    task, _ = trained(tmp_path / "1", *small, "trainer.precision=fp16")
    scaler = task.trainer.precision_plugin.scaler
    assert task.trainer.precision == "16-mixed" and scaler.get_scale() == first_factor(reduction)
    assert task.matrix.sum() > 0
    pairs = zip(plain.net.state_dict().values(), task.net.state_dict().values(), strict=True)
    for one, another in pairs:
        torch.testing.assert_close(one, another, rtol=5e-2, atol=2e-2)


def test_a_pass_does_not_wait_for_the_gpu(tmp_path):
    """Neither for the input, nor the net, nor the check of the loss, whatever the sizes."""
    task, data = trained(tmp_path)
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))):
        there = data.transfer_batch_to_device(batch, task.device, 0)
        assert not there.sizes.is_cuda and there.label.is_cuda
        task(there.fields, there.sizes)  # the first pass may choose and compile kernels
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            scores = task(there.fields, there.sizes)
            pixels = task.loss.pixels(there.label)
            task.finite.watch(task.loss(scores, there.label), 0, there.names, pixels)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        task.finite.check()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_are_asked_for_by_devices():
    chosen = trainers.machine(check(compose_run(["trainer=gpu", "trainer.devices=2"])))
    assert chosen["devices"] == 2 and chosen["strategy"] == "ddp"
