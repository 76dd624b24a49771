"""Score a checkpoint: `python -m fcnexp.evaluate checkpoint=RUN/checkpoints/last.ckpt`.

Or rescore a finished run's confusion matrix by the conventions of other tools, without its data:
`python -m fcnexp.evaluate run=RUN`.
"""

import shlex
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fcnexp.errors import ConfigError, DataError


def evaluate(cfg: DictConfig, folder: Path) -> float | None:
    """Score a checkpoint on a validation set, or rescore a run; returns the mean IU.

    Raises UserError on a user's mistake.
    """
    from fcnexp.config.checks import check_targets, check_trainer, without_fast_paths
    from fcnexp.config.schema import EvaluateConfig
    from fcnexp.config.values import to_plain, typed
    from fcnexp.run import ranks, run_folder
    from fcnexp.system import this_process

    cfg = typed(cfg, EvaluateConfig)
    if cfg.run is not None:
        return rescore(cfg)
    plain = to_plain(cfg)
    widths = check_widths(cfg.trimap)
    for key, least in (("workers", 0), ("pictures", 0), ("score_batch", 1)):
        if cfg[key] < least:
            raise ConfigError(f"{key}={cfg[key]}: must be {least} or more")
    check_trainer(cfg.trainer)
    with without_fast_paths(cfg):
        pass  # raises ConfigError on an unknown fast path
    ranks.attend()
    check_targets(plain)
    with run_folder.held(folder):
        if this_process.rank() == 0:
            run_folder.claim(folder)
        return score(cfg, folder, widths)


def score(cfg: DictConfig, folder: Path, widths: tuple[int, ...]) -> float | None:
    """Score the checkpoint and write the record; returns the mean IU. widths: of the trimap."""
    # Slow imports, so not at the top: --help and mistakes do not need them.
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from fcnexp import build, restore
    from fcnexp.config.checks import without_fast_paths
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.nn.weights.checkpoints import read_checkpoint
    from fcnexp.reporting import pictures, result, tables, trimap
    from fcnexp.run import trainers
    from fcnexp.run.determinism import deterministic
    from fcnexp.system import this_process
    from fcnexp.task.trimap import TrimapScores

    stored = read_checkpoint(cfg.checkpoint)
    task = restore.task_of(stored, cfg.checkpoint)
    chosen = build.part(cfg, "data")
    build.refuse_other_classes(task.class_names, chosen.class_names, cfg.checkpoint)
    build.refuse_missing_field(chosen, task.recipe.fields)
    fields = tuple(task.recipe.fields)
    data = SegmentationData.for_scoring(chosen, fields, cfg.workers, score_batch=cfg.score_batch)
    data.setup("validate")
    trainer = trainers.build_scorer(cfg, stored["fcnexp"]["precision"])
    trainers.speed_up(cfg, task.net)
    if this_process.rank() == 0:
        result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
    if widths:
        task.trimap = TrimapScores(len(task.class_names), widths)
    shown = pictures.spread_evenly(len(data.val), cfg.pictures)
    task.keep = frozenset(data.val.ids[i] for i in shown)
    try:
        with without_fast_paths(cfg), deterministic(cfg.trainer.deterministic):
            trainer.validate(task, data, verbose=False)
    except SIGTERMException:
        print("stopped by SIGTERM; no scores were written")
        raise SystemExit(143) from None  # Lightning's own exit code is 0
    if this_process.rank():
        return result.plain_scores(task.matrix, task.class_names)["scores"]["miou"]
    task.eval()
    pictures.draw_predictions(
        task.prediction_of, data.val, cfg.pictures, folder / "pictures", task.class_names
    )
    facts = {
        "checkpoint": str(cfg.checkpoint),
        "precision": str(trainer.precision),
        "images": len(data.val),
        "masked": task.masking["test"],
        "command": shlex.join(["python", "-m", "fcnexp.evaluate", *sys.argv[1:]]),
    }
    if task.bands is not None:
        bands = trimap.write_trimap(folder, widths, task.bands, task.matrix)
    # Written last: result.json marks the record as complete.
    record = result.write_result(folder, task.matrix, task.class_names, facts)
    tables.print_result(record)
    if task.bands is not None:
        tables.print_comparison(trimap.trimap_lines(bands), "Near boundaries (%)")
        print(f"plot {folder / 'trimap.png'}")
    print(f"pictures {folder / 'pictures'}\nrecord {folder}")
    return record["scores"]["miou"]


def rescore(cfg: DictConfig) -> float:
    """Print the scores of a run's confusion.csv; returns the mean IU. Raises UserError."""
    import torch

    from fcnexp.reporting import result, tables
    from fcnexp.reporting.records import CONFUSION, read_confusion

    if not OmegaConf.is_missing(cfg, "checkpoint"):
        raise ConfigError("run and checkpoint: give one of them; run=FOLDER only reads its matrix")
    if cfg.trimap is not None:
        raise ConfigError(
            "trimap: a confusion matrix holds no positions; give checkpoint=FILE instead of run"
        )
    confusion = read_confusion([Path(cfg.run)])
    if confusion is None:
        raise DataError(
            f"run={cfg.run}: no readable {CONFUSION} there; give a folder that train or evaluate "
            "wrote, such as outputs/train/DATE"
        )
    scores = result.plain_scores(torch.tensor(confusion.counts), tuple(confusion.names))
    tables.print_result(scores)
    return scores["scores"]["miou"]


def check_widths(widths: list[int] | None) -> tuple[int, ...]:
    """Return the widths of the trimap, in pixels; () for none. Raises ConfigError."""
    given = tuple(widths or ())
    if widths is not None and (not given or given[0] < 1 or list(given) != sorted(set(given))):
        raise ConfigError(
            f"trimap={list(given)}: must be increasing widths in pixels, 1 or more, such as "
            "[1,2,3,5,10,20,40]; null for none"
        )
    return given


def main() -> None:
    """Entry point: the checkpoint named on the command line provides `data`'s defaults."""
    from fcnexp.cli import entry

    entry.offer_data_of_checkpoint(sys.argv[1:])
    entry.run(evaluate, "evaluate")


if __name__ == "__main__":
    main()
