"""Cost of a run, with a simulated clock."""

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from torch import nn

from fcnexp.task import cost as cost_module
from fcnexp.task import module, monitors
from fcnexp.task.cost import Cost, cost_facts


def trainer_with(cost, net, scoring):
    return SimpleNamespace(
        callbacks=[mock.Mock(), cost],
        lightning_module=SimpleNamespace(net=net, scoring_seconds=lambda: scoring),
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        world_size=1,
    )


def play(cost, *events):
    """Call the hooks at given seconds: a batch of that many images, or a scoring if 0."""
    for begin, end, images in events:
        with mock.patch.object(cost_module.time, "monotonic", side_effect=[begin, end]):
            if images:
                cost.on_train_batch_start()
                batch = SimpleNamespace(names=["image"] * images)
                cost.on_train_batch_end(None, None, None, batch, 0)
            else:
                cost.on_validation_start()


def test_images_per_second_exclude_scorings():
    cost = Cost()
    # Two batches from 100 s on, a scoring from 104 to 150 s, a batch until 152 s.
    play(cost, (100, 0, 6), (102, 0, 6), (104, 0, 0), (150, 0, 4))
    with mock.patch.object(cost_module.time, "monotonic", return_value=152):
        cost.on_train_end()
    facts = cost_facts(trainer_with(cost, nn.Linear(3, 2), [0.004, 0.002, 0.9]))
    assert facts["images_per_second"] == pytest.approx(16 / (4 + 2), abs=0.01)
    assert facts["ms_per_image"] == 4 and facts["parameters"] == 8
    assert facts["device"].startswith("CPU, threads: ")


def test_peak_memory_is_of_the_process_in_bytes():
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("needs /proc")
    peak = cost_facts(trainer_with(Cost(), nn.Identity(), []))["peak_memory"]
    (kibibytes,) = (line.split()[1] for line in status.open() if line.startswith("VmHWM"))
    assert peak == pytest.approx(1024 * int(kibibytes), rel=0.05)


def test_run_without_training_has_no_training_speed():
    facts = cost_facts(trainer_with(Cost(), nn.Identity(), []))
    assert facts["images_per_second"] is None and facts["ms_per_image"] is None


def test_rates_speed_and_memory_are_logged_every_n_steps():
    cost, logged = Cost(), []
    trainer = SimpleNamespace(
        global_step=8,
        log_every_n_steps=10,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        world_size=1,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(_batches_that_stepped=9)),
        loggers=[SimpleNamespace(log_metrics=lambda values, step: logged.append((step, values)))],
    )
    groups = [{"name": "weight", "lr": 0.1}, {"name": "score bias", "lr": 2e-10}]
    batch = SimpleNamespace(names=["image"] * 6)
    for seconds in (100, 104):  # steps 9 and 10, of 6 images each
        with mock.patch.object(cost_module.time, "monotonic", return_value=seconds):
            cost.on_train_batch_start()
            cost.on_before_optimizer_step(trainer, None, SimpleNamespace(param_groups=groups))
            cost.on_train_batch_end(trainer, None, None, batch, 0)
        trainer.global_step += 1
    ((step, values),) = logged
    assert step == 9 and values.pop("cost/peak_memory") > 1e6
    assert values == {"lr/weight": 0.1, "lr/score_bias": 2e-10, "cost/images_per_second": 12 / 4}


def test_time_of_an_image_covers_the_forward_pass_only():
    seconds = iter([10.0, 10.5, 20.0, 20.25])
    task = module.SegmentationTask(
        nn.Identity(), SimpleNamespace(fields={}, facts=dict), ("background", "disc")
    )
    shape = (1, 2, 3, 3)
    batch = SimpleNamespace(
        fields={}, sizes=None, label=torch.zeros(1, 3, 3, dtype=torch.uint8), names=["a"]
    )
    with (
        mock.patch.object(monitors.time, "perf_counter", lambda: next(seconds)),
        mock.patch.object(task, "forward", lambda *_, **__: torch.zeros(shape)),
    ):
        task.validation_step(batch, 0)
        task.validation_step(batch, 1)
    assert task.scoring_seconds() == [0.5, 0.25]
    task.on_validation_start()
    assert task.scoring_seconds() == []


def test_images_of_all_processes_are_counted():
    cost = Cost()
    play(cost, (100, 0, 6), (104, 0, 0))
    trainer = trainer_with(cost, nn.Identity(), [])
    trainer.world_size = 3
    facts = cost_facts(trainer)
    assert facts["images_per_second"] == 3 * 6 / 4 and facts["device"].endswith(", processes: 3")
