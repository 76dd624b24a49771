"""Train a net and score it: `python -m fcnexp.train model=fcn8s backbone=googlenet`."""

import shlex
import sys
import time
from pathlib import Path

from omegaconf import DictConfig, OmegaConf


def train(cfg: DictConfig, folder: Path) -> float | None:
    """Run one config in one folder; returns the mean IU. Raises UserError on a user's mistake."""
    import lightning as L  # slow to import, and not needed to answer --help
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from fcnexp import build, trainers
    from fcnexp.config import check
    from fcnexp.reporting import pictures, result, tables

    cfg = check(cfg)
    result.claim(folder)
    if cfg.dry_run:
        build.dry_run(cfg)
        return None
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    data = build.build_data(cfg)
    data.setup("fit")  # a missing file shows here, before anything is written
    task = build.build_task(cfg, data.data)
    try:
        trainer = trainers.build_trainer(cfg, folder)
        result.write_config(folder, OmegaConf.to_yaml(cfg, resolve=True))
        start = time.monotonic()
        trainer.fit(task, data)
        seconds = time.monotonic() - start
        trainers.save_last(trainer, folder)
        if task.scored_step != trainer.global_step:
            trainer.validate(task, data, verbose=False)
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
        "command": shlex.join(["python", "-m", "fcnexp.train", *sys.argv[1:]]),
    }
    record = result.write_result(folder, task.matrix, task.class_names, facts)
    tables.print_result(record, cfg.paper)
    print(f"trained {seconds:.0f} s; pictures {folder / 'pictures'}; record {folder}")
    return record["scores"]["miou"]


def main() -> None:
    """Entry point."""
    from fcnexp import cli

    cli.run(train, "train")


if __name__ == "__main__":
    main()
