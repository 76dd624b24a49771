"""Training in float16 (`trainer.precision=fp16`), here on a CPU, where users cannot choose it."""

import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from commands import TINY
from lightning.pytorch.plugins.precision import MixedPrecision

from fcnexp import build
from fcnexp.config.checks import FLOAT16, check, check_values
from fcnexp.config.compose import compose_run
from fcnexp.errors import ConfigError, TrainingError
from fcnexp.nn.weights.checkpoints import read_checkpoint
from fcnexp.run import precisions, trainers
from fcnexp.task.losses import PixelLoss


@pytest.fixture
def on_cpu(monkeypatch) -> pytest.MonkeyPatch:
    """Let trainings on the CPU compute in float16."""
    machine, scaled = trainers.machine, trainers.scaled_float16
    monkeypatch.setattr(trainers, "machine", lambda cfg: machine(cfg) | {"precision": FLOAT16})
    monkeypatch.setattr(trainers, "scaled_float16", partial(scaled, device="cpu"))
    return monkeypatch


def configured(*overrides: str):
    return check(compose_run([*TINY, "trainer=cpu", "logger=csv", *overrides]))


def fit(folder: Path, *overrides: str, start: str | None = None):
    """Train a tiny net; return its task and Trainer."""
    cfg = configured(*overrides)
    torch.manual_seed(0)
    data = build.build_data(cfg)
    data.setup("fit")
    task = build.build_task(cfg, data.data)
    trainer = trainers.build_trainer(cfg, folder, [])
    if start is not None:
        data.first_draw = read_checkpoint(start)["global_step"] * cfg.regime.batch_size
    trainer.fit(task, data, ckpt_path=start)
    return task, trainer


def weights(task) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in task.net.parameters()])


def factor(trainer) -> float:
    return trainer.precision_plugin.scaler.get_scale()


def test_training_computes_in_float16_with_a_scaled_loss(on_cpu, tmp_path):
    task, trainer = fit(tmp_path, "regime.steps=2")
    assert trainer.precision == "16-mixed" and isinstance(trainer.precision_plugin, MixedPrecision)
    assert factor(trainer) == 2.0**16 and task.facts["precision"] == "16-mixed"
    start, _ = fit(tmp_path / "start", "regime.steps=2", "regime.lr=0")
    assert torch.isfinite(weights(task)).all() and not torch.equal(weights(task), weights(start))


@pytest.mark.parametrize("fused", ["true", "false"])
def test_clipping_clips_unscaled_gradients(fused, on_cpu, tmp_path):
    """One step of plain SGD at rate 1 changes the weights by the clipped gradient."""
    sgd = ["regime=accum", "regime.optimizer.momentum=0", f"regime.optimizer.fused={fused}"]
    sgd += ["regime.steps=1", "regime.accumulate=2", "regime.weight_decay=0"]
    sgd += [f"regime.multipliers.{kind}=[1,0]" for kind in ("bias", "score_bias")]
    moved = []
    for clip in ("0.01", "null"):
        start, _ = fit(tmp_path / "start", *sgd, "regime.lr=0")
        task, _ = fit(tmp_path / clip, *sgd, "regime.lr=1", f"regime.clip={clip}")
        moved.append((weights(task) - weights(start)).norm().item())
    assert moved[0] == pytest.approx(0.01, rel=1e-4) and moved[1] > 0.02


@pytest.mark.parametrize("fused", ["true", "false"])
def test_step_with_an_overflow_is_skipped_and_counts(fused, on_cpu, tmp_path):
    on_cpu.setattr(trainers, "first_factor", lambda reduction: 2.0**90)
    steps = ["regime.steps=3", f"regime.optimizer.fused={fused}"]
    with warnings.catch_warnings(record=True) as caught:
        task, trainer = fit(tmp_path, *steps)
    assert not [each for each in caught if "lr_scheduler" in str(each.message)]
    start, _ = fit(tmp_path / "start", *steps, "regime.lr=0")
    assert torch.equal(weights(task), weights(start))
    assert trainer.global_step == 3 and factor(trainer) == 2.0**87
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0  # the schedule has ended


def test_loss_that_is_not_finite_stops_the_run(on_cpu, tmp_path):
    on_cpu.setattr(PixelLoss, "forward", lambda self, scores, label: scores.sum() * torch.inf)
    told = "loss is .* at step 0, on .*: lower regime.lr, or set regime.clip; or set trainer.prec"
    with pytest.raises(TrainingError, match=told):
        fit(tmp_path)


def test_run_in_which_no_factor_helps_is_stopped(on_cpu, tmp_path):
    """Otherwise it would skip all of its steps, and end without having learned."""
    on_cpu.setattr(trainers, "first_factor", lambda reduction: 2.0**-31)
    on_cpu.setattr(PixelLoss, "forward", lambda self, scores, label: Unsteady.apply(scores))
    with pytest.raises(TrainingError, match="not finite in float16, even with the loss scaled by"):
        fit(tmp_path, "regime.steps=8", "regime.score_every=4")


class Unsteady(torch.autograd.Function):
    """A loss of 1 whose gradient is not a number."""

    @staticmethod
    def forward(ctx, scores):
        ctx.save_for_backward(scores)
        return scores.new_ones(())

    @staticmethod
    def backward(ctx, gradient):
        return torch.full_like(ctx.saved_tensors[0], torch.nan)


def test_resumed_run_ends_with_the_same_bits_and_factor(on_cpu, tmp_path):
    on_cpu.setattr(trainers, "first_factor", lambda reduction: 2.0**34)
    steps = ["regime.steps=4", "regime.score_every=2"]
    whole, done = fit(tmp_path / "whole", *steps)
    half = str(tmp_path / "whole/checkpoints/previous.ckpt")
    stored = read_checkpoint(half)
    assert stored["global_step"] == 2 and stored["MixedPrecision"]["scale"] < 2.0**34
    resumed, trainer = fit(tmp_path / "resumed", *steps, start=half)
    assert torch.equal(weights(whole), weights(resumed))
    assert done.precision_plugin.state_dict() == trainer.precision_plugin.state_dict()


def gradients(reduction: str, scale: float) -> list[torch.Tensor]:
    """Scaled gradients in float16 of an image of 2^12 pixels, none of them void."""
    net, _ = build.build_net(configured(), {"class": 4})
    loss = PixelLoss(reduction=reduction, keep=1, cell=1, balance=None)
    label = torch.randint(4, (1, 64, 64), dtype=torch.uint8)
    with torch.autocast("cpu", torch.float16):
        value = loss(net({"rgb": 50 * torch.randn(1, 3, 64, 64)}), label)
    (value * scale).backward()
    return [p.grad for p in net.parameters() if p.grad is not None]


def test_sum_over_pixels_is_as_safe_as_their_mean():
    """Scaled by a power of two less, a sum has the mean's gradients bit by bit."""
    torch.manual_seed(0)
    of_mean = gradients("mean", 2.0**16)
    torch.manual_seed(0)
    of_sum = gradients("sum", 2.0**4)
    assert len(of_mean) > 6 and all(map(torch.equal, of_mean, of_sum))
    assert all(torch.isfinite(g).all() and g.any() for g in of_mean)
    assert precisions.first_factor("sum") * 2**16 == precisions.first_factor("mean")


def choice(**changes):
    return check_values(compose_run([f"trainer.{k}={v}" for k, v in changes.items()])).trainer


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((6, 0), FLOAT16), ((7, 5), FLOAT16), ((8, 0), "bf16-mixed"), ((9, 0), "bf16-mixed")],
)
def test_auto_is_float16_on_a_gpu_without_bfloat16(capability, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert precisions.precision_of(choice(), on_gpu=True) == precision
    assert precisions.precision_of(choice(precision="fp16"), on_gpu=True) == FLOAT16


def test_auto_is_never_float16_on_a_cpu(monkeypatch):
    for has in (True, False):
        monkeypatch.setattr(precisions, "multiplies_bfloat16", lambda on_gpu, has=has: has)
        expected = "bf16-mixed" if has else "32-true"
        assert precisions.precision_of(choice(), on_gpu=False) == expected


def test_emulated_bfloat16_is_reported(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert precisions.precision_of(choice(precision="bf16"), on_gpu=True) == "bf16-mixed"
    assert "trainer.precision=fp16 suits it" in caplog.text


@pytest.mark.parametrize("given", ["fp16", "16-mixed", "16"])
def test_float16_on_a_cpu_is_refused(given):
    told = f"trainer.precision={given}: float16 needs a CUDA GPU, .*; choose 32-true, bf16"
    with pytest.raises(ConfigError, match=told):
        check(compose_run(["trainer=cpu", f"trainer.precision={given}"]))
    with pytest.raises(ConfigError, match=told):  # trainer=auto, and no GPU
        precisions.precision_of(choice(precision=given), on_gpu=False)


def test_net_trained_in_float16_is_scored_in_float32_on_a_cpu(caplog):
    caplog.set_level("INFO")
    scorer = trainers.build_scorer(compose_run(["trainer.accelerator=cpu"]), FLOAT16)
    assert scorer.precision == "32-true" and "scores in 32-true: trained in float16" in caplog.text
    assert precisions.precision_to_score_in(choice(), FLOAT16, on_gpu=True) == FLOAT16
    asked = choice(precision="32")
    assert precisions.precision_to_score_in(asked, "bf16-mixed", on_gpu=True) == "32-true"
