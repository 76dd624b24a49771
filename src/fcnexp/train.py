"""Train a net and score it: `python -m fcnexp.train model=fcn8s backbone=googlenet`."""

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.staging import Stage


def train(cfg: DictConfig, folder: Path) -> float | None:
    """Run one config in one folder, by stages if it asks for them; returns the mean IU.

    Raises UserError on a user's mistake.
    """
    from fcnexp import build, runs, staging  # slow to import, and not needed to answer --help
    from fcnexp.config import check
    from fcnexp.reporting import records, result, tables

    cfg = check(cfg)
    trainings = staging.stages(cfg, folder)
    if len(trainings) > 1:
        build.refuse_stages_that_part([check(stage.cfg) for stage in trainings])
    if cfg.resume:
        runs.refuse_other_config(folder, cfg)
        if not (folder / records.CONFIG).is_file():
            print(f"nothing to continue in {folder}: this begins anew")
    else:
        runs.claim(folder)
    if cfg.dry_run:
        build.dry_run(cfg)
        return None
    if len(trainings) > 1:
        build.build_data(cfg).setup("fit")  # a missing file shows before anything is written
        result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
    record: dict[str, Any] = {}
    for number, stage in enumerate(trainings, start=1):
        if len(trainings) > 1:
            print(f"stage {number} of {len(trainings)}: {stage.name}, in {stage.folder}")
        done = runs.finished(stage.folder) if cfg.resume else None
        if done is not None:
            print(
                f"{stage.folder}: done before, mean IU {tables.percent(done['scores']['miou'])} %"
            )
        record = done or train_one(stage)
    return record["scores"]["miou"]


def train_one(stage: "Stage") -> dict[str, Any]:
    """Train one net, from where an earlier run of it stopped if it may, and write its result."""
    import lightning as L
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from fcnexp import build, cli, runs, trainers
    from fcnexp.nn.original import fixed_counts
    from fcnexp.reporting import pictures, records, result, tables
    from fcnexp.sweep import launches
    from fcnexp.task.callbacks import cost_facts

    cfg, folder = stage.cfg, stage.folder
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build.build_data(cfg)
    data.setup("fit" if cfg.regime.steps else "validate")  # shows what is missing before writing
    task = build.build_task(cfg, data.data, class_weights(cfg, data))
    tables.print_groups(task.groups or [], fixed_counts(task.net))
    stopped = runs.last_checkpoint(folder) if cfg.resume else None
    if stopped is not None:
        data.first_draw = stopped.step * cfg.regime.accumulate * cfg.regime.batch_size
        runs.keep_metrics(folder, stopped.step)
        print(f"continues after step {stopped.step}, from {stopped.path}")
    try:
        trainer = trainers.build_trainer(cfg, folder)
        if not (folder / records.CONFIG).exists():  # the last stage's folder has the run's own
            result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
        start = time.monotonic()
        if cfg.regime.steps:
            trainer.fit(task, data, ckpt_path=stopped and stopped.path)
        seconds = time.monotonic() - start
        if task.scored_step != trainer.global_step:
            trainer.validate(task, data, verbose=False)
        trainers.save_last(trainer, folder)
    except SIGTERMException:
        print(f"stopped by SIGTERM; the weights so far are in {folder / 'checkpoints'}")
        raise SystemExit(143) from None  # Lightning's own is 0, as if all were well
    finally:
        trainers.close_loggers()
    task.eval()
    pictures.draw_predictions(task.label_image, data.val, cfg.pictures, folder / "pictures")
    facts = {
        "seed": cfg.seed,
        "steps": trainer.global_step,
        "train_seconds": round(seconds, 1),
        "precision": str(trainer.precision),
        "images": len(data.val),
        "masked": task.masking["test"],
        **cost_facts(trainer),
        "command": shlex.join(launches.typed()),
        **cli.what_was_typed(),
    }
    record = result.write_result(folder, task.matrix, task.class_names, facts)
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
