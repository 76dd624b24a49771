"""The options of `trainer`, and losses that end a training."""

import shutil

import pytest
import torch
from commands import fcnexp

from fcnexp import build
from fcnexp.config.checks import check
from fcnexp.config.compose import compose_run
from fcnexp.config.identity import digest
from fcnexp.errors import ConfigError, TrainingError
from fcnexp.run import trainers
from fcnexp.task.losses import PixelLoss
from fcnexp.task.monitors import FiniteLoss, Pending


def settings(*overrides: str) -> dict:
    return trainers.machine(check(compose_run(["trainer=cpu", *overrides])))


@pytest.mark.parametrize(
    ("given", "precision"),
    [("bf16", "bf16-mixed"), ("bf16-mixed", "bf16-mixed"), ("32", "32-true"), (32, "32-true")],
)
def test_short_names_of_precisions(given, precision):
    assert settings(f"trainer.precision={given}")["precision"] == precision


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.precision=fp8", "precision=fp8: allowed are auto, 32-true, .*, bf16 for bf16-m"),
        ("trainer.devices=0", "trainer.devices=0: must be 1 or more"),
        ("trainer.threads=0", "trainer.threads=0: must be 1 or more"),
        ("trainer.compile=fast", "trainer.compile=fast: allowed are false, true, reduce-ove"),
        ("trainer.compile=reduce-overhead", "CUDA graphs need a GPU"),
    ],
)
def test_wrong_value_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        settings(override)


def test_compiling_without_a_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="torch needs a C.. compiler, and none is installed"):
        settings("trainer.compile=true")


@pytest.mark.parametrize("key", ["precision=bf16", "compile=true", "devices=2", "tf32=true"])
def test_key_without_its_group_gets_a_suggestion(key, tmp_path):
    done = fcnexp("train", key, folder=tmp_path, cache=tmp_path)
    name = key.partition("=")[0]
    assert done.returncode == 1 and f"(did you mean trainer.{name}?)" in done.stderr


def test_compiled_net_keeps_parameter_names():
    cfg = check(compose_run(["trainer=cpu", "trainer.compile=true"]))
    net, _ = build.build_net(cfg, {"class": 4})
    names = list(net.state_dict())
    trainers.speed_up(cfg, net)
    assert list(net.state_dict()) == names and net._compiled_call_impl is not None


@pytest.mark.slow
def test_compiled_net_has_the_same_scores_and_gradients():
    """Compiles for minutes; the second size makes the sizes symbolic."""
    cfg = check(compose_run(["trainer=cpu", "trainer.compile=true"]))
    net = build.build_net(cfg, {"class": 4})[0].double()
    for size in ((64, 80), (70, 75)):
        image = torch.randn(2, 3, *size).double()
        plain = net.forward({"rgb": image})
        plain.square().mean().backward()
        gradients = [p.grad.clone() for p in net.parameters() if p.requires_grad]
        net.zero_grad()
        trainers.speed_up(cfg, net)
        scores = net({"rgb": image})
        scores.square().mean().backward()
        torch.testing.assert_close(scores, plain, rtol=1e-9, atol=1e-12)
        compiled = [p.grad for p in net.parameters() if p.requires_grad]
        for one, other in zip(gradients, compiled, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
        net.zero_grad()


def test_tf32_is_set():
    for chosen in (True, False):
        trainers.set_up(compose_run([f"trainer.tf32={str(chosen).lower()}"]))
        assert torch.backends.cudnn.allow_tf32 is chosen
        assert torch.backends.cuda.matmul.allow_tf32 is chosen


@pytest.mark.parametrize("key", ["threads=2", "activation_checkpointing=true"])
def test_setting_without_effect_on_numbers_keeps_the_digest(key):
    plain, changed = (
        digest(build.to_plain(compose_run(given))) for given in ([], [f"trainer.{key}"])
    )
    assert plain == changed


@pytest.mark.parametrize("key", ["tf32", "compile"])
def test_config_older_than_a_key_has_the_digest_of_false(key):
    now, with_it = (build.to_plain(compose_run(given)) for given in ([], [f"trainer.{key}=true"]))
    before = build.to_plain(compose_run([]))
    del before["trainer"][key]
    assert digest(before) == digest(now) != digest(with_it)


class LateLoss(FiniteLoss):
    """Check the loss one step later, as on a GPU."""

    def watch(self, loss, step, names, pixels):
        self.check()
        self.pending = Pending(loss, None, step, names, pixels)


def test_bad_loss_is_reported_with_its_own_step_and_images():
    for watch in (FiniteLoss(), LateLoss()):
        watch.watch(torch.tensor(1.0), 6, ["a"], 1)
        with pytest.raises(TrainingError, match="loss is nan at step 7, on b, c: lower regime.lr"):
            watch.watch(torch.tensor(float("nan")), 7, ["b", "c"], 1)
            watch.watch(torch.tensor(1.0), 8, ["d"], 1)
        watch.check()  # reported once


@pytest.mark.parametrize(
    ("reduction", "pixels"), [("mean", 1), ("sum", 48 * 40), ("image_means", 2)]
)
def test_exploded_loss_is_detected_per_summed_pixel(reduction, pixels):
    loss = PixelLoss(reduction=reduction, keep=1, cell=1, balance=None)
    counted = loss.pixels(torch.zeros(2, 48, 40, dtype=torch.uint8))
    assert counted == pixels
    watch = FiniteLoss()
    watch.watch(torch.tensor(0.99e4 * pixels), 6, ["a"], counted)
    with pytest.raises(TrainingError, match="above 10000 a pixel, at step 7, on b: lower regime"):
        watch.watch(torch.tensor(1.01e4 * pixels), 7, ["b"], counted)


def test_weights_after_a_bad_loss_are_not_stored():
    cfg = check(compose_run(["trainer=cpu"]))
    data = build.build_data(cfg)
    task = build.build_task(cfg, data.data)
    task.finite = LateLoss()
    task.finite.watch(torch.tensor(float("inf")), 7, ["a"], 1)
    with pytest.raises(TrainingError, match="loss is inf at step 7, on a"):
        task.on_save_checkpoint({})
