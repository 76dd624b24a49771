"""Score a checkpoint: `python -m fcnexp.evaluate checkpoint=RUN/checkpoints/last.ckpt`."""

import shlex
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf


def evaluate(cfg: DictConfig, folder: Path) -> float | None:
    """Score one checkpoint on a data set's validation half; returns the mean IU.

    Raises UserError on a user's mistake.
    """
    from fcnexp import build, runs, trainers  # slow to import, and not needed to answer --help
    from fcnexp.config import check_targets, to_plain, typed
    from fcnexp.data.datamodule import SegmentationData
    from fcnexp.nn.checkpoints import read_checkpoint
    from fcnexp.reporting import pictures, result, tables
    from fcnexp.schema import EvaluateConfig

    cfg = typed(cfg, EvaluateConfig)
    check_targets(to_plain(cfg))
    runs.claim(folder)
    stored = read_checkpoint(cfg.checkpoint)
    task = build.task_from_checkpoint(stored, cfg.checkpoint)
    chosen = build.part(cfg, "data")
    build.refuse_other_classes(task.class_names, chosen.class_names, cfg.checkpoint)
    build.refuse_missing_field(chosen, task.recipe.fields)
    data = SegmentationData(
        chosen,
        fields=tuple(task.recipe.fields),
        batch_size=1,
        num_workers=cfg.workers,
        seed=0,
        sampling="shuffle",
    )
    data.setup("validate")
    trainer = trainers.build_scorer(cfg, stored["fcnexp"]["precision"])
    result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
    trainer.validate(task, data, verbose=False)
    task.eval()
    pictures.draw_predictions(task.label_image, data.val, cfg.pictures, folder / "pictures")
    facts = {
        "checkpoint": str(cfg.checkpoint),
        "precision": str(trainer.precision),
        "images": len(data.val),
        "masked": task.masking["test"],
        "command": shlex.join(["python", "-m", "fcnexp.evaluate", *sys.argv[1:]]),
    }
    record = result.write_result(folder, task.matrix, task.class_names, facts)
    tables.print_result(record)
    print(f"pictures {folder / 'pictures'}\nrecord {folder}")
    return record["scores"]["miou"]


def main() -> None:
    """Entry point: the checkpoint named on the command line provides `data`'s defaults."""
    from fcnexp import cli

    cli.offer_data_of_checkpoint(sys.argv[1:])
    cli.run(evaluate, "evaluate")


if __name__ == "__main__":
    main()
