"""Train a net and score it: `python -m fcnexp.train model=fcn8s backbone=googlenet`."""

import logging
import shlex
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from lightning import Trainer

    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.run.loggers import Loggers
    from fcnexp.run.run_folder import Stopped
    from fcnexp.run.staging import Stage
    from fcnexp.task.module import SegmentationTask

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: Path) -> float | None:
    """Train and score what a config describes, stage by stage; return the mean IU.

    None after a dry run. Raises UserError on a user's mistake.
    """
    from fcnexp.config.checks import check_values, without_fast_paths
    from fcnexp.config.compose import what_was_typed
    from fcnexp.config.values import to_plain
    from fcnexp.reporting.run_header import print_start
    from fcnexp.run import epochs, longer, ranks, run_folder, staging
    from fcnexp.system import this_process
    from fcnexp.system.places import short
    from fcnexp.tracking.run import refuse_unusable

    cfg = check_values(cfg)
    ranks.follow(cfg)
    refuse_unusable(cfg.logger, keep_best=cfg.keep_best)
    epochs.refuse_two_lengths(cfg, what_was_typed()["typed"])
    if "max_epochs" in cfg.trainer and not cfg.dry_run:
        from fcnexp import build  # imports torch

        epochs.count_steps(cfg, build.build_data(cfg))
    stages = staging.stages(cfg, folder)
    if this_process.rank() == 0:
        run_folder.enter(folder, cfg)
    if not cfg.dry_run:
        print_start(to_plain(cfg), **what_was_typed(), folder=folder)  # torch takes seconds more
    check_parts(stages)
    from fcnexp import build

    if cfg.dry_run:
        build.dry_run(cfg)
        return None
    if this_process.rank() == 0:
        longer.begin(folder, cfg, run_folder.stored_config(folder))
    if len(stages) > 1:
        open_staged_run(cfg, folder)
    with without_fast_paths(cfg):
        for number, stage in enumerate(stages, start=1):
            if len(stages) > 1:
                print(f"stage {number} of {len(stages)}: {stage.name}, in {short(stage.folder)}")
            record = finished_before(stage) or train_stage(stage)
    return record["scores"]["miou"]


def check_parts(stages: "Sequence[Stage]") -> None:
    """Raise ConfigError if the parts of a net do not fit together, before Lightning is imported."""
    from fcnexp.config.checks import check_targets
    from fcnexp.config.values import to_plain
    from fcnexp.config.whole_nets import is_whole, refuse_lone_images

    for stage in stages:
        check_targets(to_plain(stage.cfg))
    import torch

    from fcnexp import build

    build.parts(stages[0].cfg, "callbacks")  # raises if one refuses its values
    if len(stages) > 1:
        build.refuse_unrelated_stages([stage.cfg for stage in stages])
        return
    cfg = stages[0].cfg
    outputs = build.outputs_of(build.part(cfg, "data"))
    if is_whole(cfg):
        refuse_lone_images(cfg, *build.on_meta(cfg, outputs, size=(65, 97)))
    with torch.device("meta"):  # takes no memory
        build.build_net(cfg, outputs)


def open_staged_run(cfg: DictConfig, folder: Path) -> None:
    """Look for missing data, then record the config and data of a run in stages."""
    from fcnexp import build

    data = build.build_data(cfg)
    data.setup("fit")
    write_settings(cfg, folder, data)


def write_settings(
    cfg: DictConfig, folder: Path, data: "SegmentationData", *, resumed: bool = False
) -> None:
    """Record the data of a training unless it is resumed, and its config if it has none yet."""
    from fcnexp.config.values import to_plain
    from fcnexp.reporting import records, result
    from fcnexp.run import data_record
    from fcnexp.system import this_process

    if this_process.rank():
        return
    if not resumed:
        splits = [data.val] if data.train is None else [data.train, data.val]
        data_record.write(folder, to_plain(cfg), splits)
    if not (folder / records.CONFIG).exists():  # the folder of the last stage is the run's own
        result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))


def finished_before(stage: "Stage") -> dict[str, Any] | None:
    """Record of a finished stage if this run may use it. Raises ConfigError if its data changed."""
    from fcnexp.config.values import to_plain
    from fcnexp.reporting.records import percent
    from fcnexp.run import data_record, run_folder
    from fcnexp.system.places import short

    record = run_folder.finished(stage.folder) if stage.cfg.resume else None
    data_record.refuse_changed([stage.folder], data_record.roots_of(to_plain(stage.cfg)))
    if record is not None:
        print(f"{short(stage.folder)}: done before, mean IU {percent(record['scores']['miou'])} %")
    return record


def train_stage(stage: "Stage") -> dict[str, Any]:
    """Train and score one net, from its last checkpoint if it has one; return its record."""
    import lightning as L

    from fcnexp import build
    from fcnexp.run import loggers, trainers

    cfg, folder = stage.cfg, stage.folder
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data, task = build_task(cfg)
    stopped = resume_point(stage, data)
    own, others = build.parts(cfg, "callbacks"), partial(build.parts, cfg, "logger.others")
    with loggers.opened(cfg, folder, others, resumed=stopped is not None) as logs:
        trainer = trainers.build_trainer(cfg, folder, logs.loggers, [*logs.callbacks, *own])
        trainers.speed_up(cfg, task.net)
        write_settings(cfg, folder, data, resumed=stopped is not None)
        with trainers.explained(stage, trainer, stopped):
            seconds = fit_and_score(trainer, stage, task, data, stopped)
        return write_record(stage, task, data, logs, seconds)


def build_task(cfg: DictConfig) -> "tuple[SegmentationData, SegmentationTask]":
    """Data and net of one training, with what it will learn printed. Raises UserError."""
    from fcnexp import build
    from fcnexp.nn.weights.caffe_names import fixed_counts
    from fcnexp.reporting import tables

    data = build.build_data(cfg)
    data.setup("fit" if cfg.regime.steps else "validate")  # finds missing files before writing
    task = build.build_task(cfg, data.data, class_weights(cfg, data))
    tables.print_groups(task.groups or [], fixed_counts(task.net))
    return data, task


def resume_point(stage: "Stage", data: "SegmentationData") -> "Stopped | None":
    """Where an earlier run of this stage stopped; the data then continues with its next draw."""
    from fcnexp.run import run_folder
    from fcnexp.system import this_process
    from fcnexp.system.places import short

    cfg, folder = stage.cfg, stage.folder
    stopped = run_folder.last_checkpoint(folder) if cfg.resume else None
    if stopped is not None:
        data.first_draw = stopped.step * cfg.regime.accumulate * cfg.regime.batch_size
        if this_process.rank() == 0:
            run_folder.set_aside_metrics(folder, stopped.step)
        print(f"continues after step {stopped.step}, from {short(stopped.path)}")
    return stopped


def fit_and_score(
    trainer: "Trainer",
    stage: "Stage",
    task: "SegmentationTask",
    data: "SegmentationData",
    stopped: "Stopped | None",
) -> float:
    """Train, score the last step, and store the weights; return the seconds of training."""
    from fcnexp.reporting import pictures
    from fcnexp.run.determinism import deterministic
    from fcnexp.run.trainers import callback
    from fcnexp.task.saving import LastCheckpoint
    from fcnexp.task.stopping import StopAfterStep, StopRequested

    cfg = stage.cfg
    shown = pictures.spread_evenly(len(data.val), cfg.pictures)
    task.keep, task.worst = frozenset(data.val.ids[i] for i in shown), cfg.pictures
    start = time.monotonic()
    with deterministic(cfg.trainer.deterministic) as task.nondeterministic:
        if cfg.regime.steps:
            trainer.fit(task, data, ckpt_path=stopped and stopped.path)
        seconds = time.monotonic() - start
        # A scoring after which a callback stopped the training kept no counts of single images.
        if task.scored_step != trainer.global_step or task.per_image is None:
            trainer.validate(task, data, verbose=False)
    callback(trainer, LastCheckpoint).save(trainer)
    if late := callback(trainer, StopAfterStep).requested:
        raise StopRequested(late)
    return seconds


def write_record(
    stage: "Stage",
    task: "SegmentationTask",
    data: "SegmentationData",
    logs: "Loggers",
    seconds: float,
) -> dict[str, Any]:
    """Draw pictures, write and print the result of a training; return the content of result.json.

    The first process of a run does this; the others return the scores alone.
    """
    from fcnexp.config.compose import what_was_typed
    from fcnexp.reporting import last_words, pictures, result, tables
    from fcnexp.reporting.records import percent
    from fcnexp.run import certificate, trainers
    from fcnexp.sweep import launches
    from fcnexp.system import this_process
    from fcnexp.task.cost import cost_facts
    from fcnexp.task.saving import BestScore
    from fcnexp.task.stopping import StoppedEarly

    cfg, folder, trainer = stage.cfg, stage.folder, task.trainer
    if this_process.rank():
        return result.plain_scores(task.matrix, task.tasks[0].classes)
    task.eval()
    shown = pictures.spread_evenly(len(data.val), cfg.pictures)
    draw = pictures.draw_scored
    draw(task.prediction_of, data.val, shown, cfg.pictures, folder, task.counts)
    facts = {
        "seed": cfg.seed,
        "steps": trainer.global_step,
        "train_seconds": round(seconds, 1),
        "precision": str(trainer.precision),
        "images": len(data.val),
        "masked": task.masking["test"],
        "nondeterministic": task.nondeterministic,
        "stopped_early": trainers.callback(trainer, StoppedEarly).why,
        "best": trainers.callback(trainer, BestScore).state_dict(),
        **cost_facts(trainer),
        "command": shlex.join(launches.typed()),
        **what_was_typed(),
    }
    record = result.write_record(folder, task.counts, facts)
    certificate.write(folder, record)
    logs.log_result(record, task.counts, trainer.global_step)
    tables.print_results(record, cfg.paper)
    log.info("trained %.0f s, mean IU %s %%", seconds, percent(record["scores"]["miou"]))
    print("\n".join(last_words.places(folder)))
    if launches.current() is None:
        print("\n".join(last_words.next_commands(folder, task.recipe.fields)))
    return record


def class_weights(cfg: DictConfig, data: "SegmentationData") -> list[float] | None:
    """Weights of the classes of all tasks, counted and printed, if `balance` names a rule."""
    from fcnexp import build
    from fcnexp.data import balance
    from fcnexp.reporting import tables
    from fcnexp.scoring.tasks import tasks_of

    rule, names = cfg.regime.loss.get("balance"), data.data.class_names
    if not isinstance(rule, str):
        return None
    if data.train is None:
        return [1.0] * len(names)  # the net is only scored, without a loss
    weights, void_as = [], cfg.regime.loss.get("void_as")
    for task in tasks_of(names, build.outputs_of(data.data)):
        further = task.name if task.is_further else None
        counts = balance.count_classes(data.train, len(task.classes), void_as, further)
        own = balance.class_weights(counts, rule)
        tables.print_balance(task.classes, counts.shares, own)
        weights += own
    return weights


def main() -> None:
    """Entry point."""
    from fcnexp.sweep import command

    command.run(train)


if __name__ == "__main__":
    main()
