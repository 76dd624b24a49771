"""Train a net and score it: `python -m fcnexp.train model=fcn8s backbone=googlenet`."""

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from fcnexp.errors import TrainingError

if TYPE_CHECKING:
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.run.loggers import Loggers
    from fcnexp.run.run_folder import Stopped
    from fcnexp.run.staging import Stage
    from fcnexp.task.module import SegmentationTask


def train(cfg: DictConfig, folder: Path) -> float | None:
    """Run one config in one folder, by stages if it asks for them; returns the mean IU.

    Raises UserError on a user's mistake.
    """
    from fcnexp.config.checks import check, fast_ways
    from fcnexp.config.compose import what_was_typed
    from fcnexp.config.values import to_plain
    from fcnexp.reporting import run_header, tables
    from fcnexp.run import data_record, ranks, run_folder, staging
    from fcnexp.system import this_process
    from fcnexp.tracking.run import refuse_unusable

    cfg = check(cfg)
    ranks.follow(cfg)
    refuse_unusable(cfg.logger)
    trainings = staging.stages(cfg, folder)
    from fcnexp import build  # imports torch, for which most mistakes need not wait

    if len(trainings) > 1:
        build.refuse_stages_that_part([check(stage.cfg) for stage in trainings])
    else:
        refuse_misfits(cfg)
    if this_process.rank() == 0:  # it sees to the folder, and writes there
        run_folder.enter(folder, cfg)
    if cfg.dry_run:
        build.dry_run(cfg)
        return None
    if len(trainings) > 1:
        from fcnexp.reporting import result

        data = build.build_data(cfg)
        data.setup("fit")  # a missing file shows before anything is written
    if len(trainings) > 1 and this_process.rank() == 0:
        write_data(cfg, folder, data)
        result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
    told = what_was_typed()
    run_header.print_start(to_plain(cfg), told["choices"], told["typed"], folder)
    record: dict[str, Any] = {}
    for number, stage in enumerate(trainings, start=1):
        if len(trainings) > 1:
            print(f"stage {number} of {len(trainings)}: {stage.name}, in {stage.folder}")
        done = run_folder.finished(stage.folder) if cfg.resume else None
        data_record.refuse_changed([stage.folder], data_record.roots_of(to_plain(cfg)))
        if done is not None:
            print(
                f"{stage.folder}: done before, mean IU {tables.percent(done['scores']['miou'])} %"
            )
        with fast_ways(cfg):
            record = done or train_one(stage)
    return record["scores"]["miou"]


def refuse_misfits(cfg: DictConfig) -> None:
    """Raise ConfigError where a net's parts do not go together, before Lightning is imported."""
    import torch

    from fcnexp import build

    with torch.device("meta"):  # takes no memory
        build.build_net(cfg, build.outputs_of(build.part(cfg, "data")))


def train_one(stage: "Stage") -> dict[str, Any]:
    """Train one net, from where an earlier run of it stopped if it may, and write its result."""
    import lightning as L

    from fcnexp import build
    from fcnexp.nn.weights.caffe_names import fixed_counts
    from fcnexp.reporting import tables
    from fcnexp.run import loggers, run_folder
    from fcnexp.system import this_process

    cfg, folder = stage.cfg, stage.folder
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build.build_data(cfg)
    data.setup("fit" if cfg.regime.steps else "validate")  # shows what is missing before writing
    task = build.build_task(cfg, data.data, class_weights(cfg, data))
    tables.print_groups(task.groups or [], fixed_counts(task.net))
    stopped = run_folder.last_checkpoint(folder) if cfg.resume else None
    if stopped is not None:
        data.first_draw = stopped.step * cfg.regime.accumulate * cfg.regime.batch_size
        if this_process.rank() == 0:
            run_folder.keep_metrics(folder, stopped.step)
        print(f"continues after step {stopped.step}, from {stopped.path}")
    with loggers.opened(cfg, folder, goes_on=stopped is not None) as logs:
        seconds = fit(stage, task, data, logs, stopped)
        return conclude(stage, task, data, logs, seconds)


def fit(
    stage: "Stage",
    task: "SegmentationTask",
    data: "SegmentationData",
    logs: "Loggers",
    stopped: "Stopped | None",
) -> float:
    """Train, score what is not scored yet, store the weights; returns the seconds of training."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from fcnexp.reporting import pictures, records, result
    from fcnexp.run import run_folder, trainers
    from fcnexp.run.determinism import deterministic
    from fcnexp.system import this_process
    from fcnexp.task.saving import LastCheckpoint
    from fcnexp.task.stopping import StopAfterStep, StopRequested

    cfg, folder = stage.cfg, stage.folder
    try:
        trainer = trainers.build_trainer(cfg, folder, logs.loggers, logs.callbacks)
        trainers.speed_up(cfg, task.net)
        # The last stage's folder has the run's own.
        if this_process.rank() == 0 and stopped is None:
            write_data(cfg, folder, data)
        if this_process.rank() == 0 and not (folder / records.CONFIG).exists():
            result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
        shown = pictures.spread_evenly(len(data.val), cfg.pictures)
        task.keep = frozenset(data.val.ids[i] for i in shown)
        start = time.monotonic()
        with deterministic(cfg.trainer.deterministic) as task.nondeterministic:
            if cfg.regime.steps:
                trainer.fit(task, data, ckpt_path=stopped and stopped.path)
            seconds = time.monotonic() - start
            if task.scored_step != trainer.global_step:
                trainer.validate(task, data, verbose=False)
        trainers.callback(trainer, LastCheckpoint).save(trainer)
        if late := trainers.callback(trainer, StopAfterStep).requested:
            raise StopRequested(late)
    except SIGTERMException as stop:
        # Lightning's own code is 0, as if all were well; of any but the first it wants no other.
        step = trainers.callback(trainer, LastCheckpoint).step or (stopped and stopped.step)
        raise SystemExit(
            0 if this_process.rank() else run_folder.say_stopped(stop, folder, step)
        ) from None
    except TrainingError as error:
        raise TrainingError(f"{error}; {run_folder.last_good(folder)}") from None
    except RuntimeError as error:
        if cfg.trainer.devices == 1 or "onnection" not in str(error):
            raise
        raise TrainingError(
            "another process of this run has ended, which may have said why above; the same "
            "command goes on from the last scoring"
        ) from None
    return seconds


def write_data(cfg: DictConfig, folder: Path, data: "SegmentationData") -> None:
    """Write down what data a training has, before it begins."""
    from fcnexp.config.values import to_plain
    from fcnexp.run import data_record

    halves = [data.val] if data.train is None else [data.train, data.val]
    data_record.write(folder, to_plain(cfg), halves)


def conclude(
    stage: "Stage",
    task: "SegmentationTask",
    data: "SegmentationData",
    logs: "Loggers",
    seconds: float,
) -> dict[str, Any]:
    """Draw, write and print what a training came to; returns what result.json holds.

    Of several processes the first does; the others return the scores alone.
    """
    from fcnexp.config.compose import what_was_typed
    from fcnexp.reporting import pictures, result, tables
    from fcnexp.run import trainers
    from fcnexp.sweep import launches
    from fcnexp.system import this_process
    from fcnexp.task.cost import cost_facts
    from fcnexp.task.saving import BestScore

    cfg, folder, trainer = stage.cfg, stage.folder, task.trainer
    if this_process.rank():
        return result.plain_scores(task.matrix, task.class_names)
    task.eval()
    pictures.draw_predictions(
        task.prediction_of, data.val, cfg.pictures, folder / "pictures", task.class_names
    )
    facts = {
        "seed": cfg.seed,
        "steps": trainer.global_step,
        "train_seconds": round(seconds, 1),
        "precision": str(trainer.precision),
        "images": len(data.val),
        "masked": task.masking["test"],
        "nondeterministic": task.nondeterministic,
        "best": trainers.callback(trainer, BestScore).state_dict(),
        **cost_facts(trainer),
        "command": shlex.join(launches.typed()),
        **what_was_typed(),
    }
    record = result.write_result(folder, task.matrix, task.class_names, facts)
    logs.log_result(record, task.matrix, trainer.global_step)
    tables.print_result(record, cfg.paper)
    print(f"trained {seconds:.0f} s; pictures {folder / 'pictures'}; record {folder}")
    return record


def class_weights(cfg: DictConfig, data: "SegmentationData") -> list[float] | None:
    """Weight of each class, counted and printed where `regime.loss.balance` names a rule."""
    from fcnexp.data import balance
    from fcnexp.reporting import tables

    rule, names = cfg.regime.loss.get("balance"), data.data.class_names
    if not isinstance(rule, str):
        return None
    if data.train is None:
        return [1.0] * len(names)  # it is only scored: there is nothing to count, nor a loss
    counts = balance.count_classes(data.train, len(names), cfg.regime.loss.get("void_as"))
    weights = balance.class_weights(counts, rule)
    tables.print_balance(names, counts.shares, weights)
    return weights


def main() -> None:
    """Entry point."""
    from fcnexp.sweep import command

    command.run(train)


if __name__ == "__main__":
    main()
