"""Compare the speed of fcnexp with others: `python -m fcnexp.bench [infer|train|eval|data|...]`."""

import datetime
import importlib
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from fcnexp.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from fcnexp.config.schema import BenchConfig

PARTS = {  # module and function of each part
    "infer": "infer.infer",
    "train": "learning.train",
    "ways": "fast_paths.fast_paths",
    "eval": "evaluation.evaluate",
    "data": "loading.data",
    "dense": "dense_scores.dense",
    "hha": "encoding.hha",
    "startup": "startup.startup",
    "scale": "scale.scale",
}
MODELS = ("fcn8s", "fcn16s", "fcn32s")
DEVICES = ("auto", "cpu", "cuda")


def bench(cfg: DictConfig, folder: Path) -> None:
    """Measure the parts in turn, writing the record after each table. Raises UserError."""
    from fcnexp.config.schema import BenchConfig
    from fcnexp.config.values import to_plain, typed

    asked = BenchConfig(**to_plain(typed(cfg, BenchConfig)))
    wanted = check(asked)
    check_folders(asked)

    import torch  # slow to import, so only after the checks

    from fcnexp.benching import plot, record, tables

    device = choose_device(asked.device)
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    facts = record.facts(
        command=shlex.join(["python", "-m", "fcnexp.bench", *sys.argv[1:]]),
        settings=vars(asked),
        device=device,
        date=datetime.date.today().isoformat(),
    )
    done = record.Record(folder, facts)
    print(done.header())
    for name in wanted:
        module, function = PARTS[name].split(".")
        measure: Any = getattr(importlib.import_module(f"fcnexp.benching.{module}"), function)
        done.parts[name], start = [], time.monotonic()
        print(f"{name} ...", flush=True)
        for table in measure(asked, device):
            done.parts[name].append(table)
            done.seconds[name] = round(time.monotonic() - start, 1)
            done.write()
            tables.print_tables([table])
        if name == "scale":
            plot.draw(folder / plot.FILE, done.parts[name])
    print(f"record {folder}")


def check(asked: "BenchConfig") -> list[str]:
    """Return the parts to measure, in the order given. Raises ConfigError on an invalid value."""
    wanted = [asked.part] if isinstance(asked.part, str) else list(asked.part)
    for name in wanted:
        if name not in PARTS:
            raise ConfigError(f"part={name}: no such part; choose one of {', '.join(PARTS)}")
    if not wanted:
        raise ConfigError(f"part=[]: choose one or more of {', '.join(PARTS)}")
    for name in asked.nets:
        if name not in MODELS:
            raise ConfigError(f"nets={asked.nets}: allowed are {', '.join(MODELS)}")
    if asked.device not in DEVICES:
        raise ConfigError(f"device={asked.device}: allowed are {', '.join(DEVICES)}")
    counts = {"rounds": asked.rounds, "images": asked.images, "channels": asked.channels}
    counts |= {"steps": asked.steps, "threads": 1 if asked.threads is None else asked.threads}
    for key, value in counts.items():
        if value < 1:
            raise ConfigError(f"{key}={value}: must be 1 or more")
    for key in ("nets", "sizes", "sides", "batches", "workers"):
        if not getattr(asked, key):
            raise ConfigError(f"{key}=[]: must have at least one element")
    for size in (asked.size, asked.dense_size, *asked.sizes):
        sides = size if isinstance(size, list) else []
        if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
            raise ConfigError(f"size={size}: must be height and width in pixels, such as [500,500]")
    return wanted


def check_folders(asked: "BenchConfig") -> None:
    """Raise DataError if a folder of photographs or depth is invalid, before minutes of work."""
    from fcnexp.data.folders import find_layout

    parts = {"voc": ("JPEGImages", "SegmentationClass"), "sbd": ("img", "cls")}
    for kind, within in (parts | {"nyud": ("data/depth",)}).items():
        folder = getattr(asked, kind)
        if folder is not None:
            find_layout(Path(folder), within, kind)


def choose_device(name: str) -> "torch.device":
    """Return the device to measure on. Raises ConfigError if it does not exist."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: torch finds no GPU on this machine; try device=cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":  # exact fp32 for all candidates: TF32 has a mantissa of 10 bits
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(name)


def main() -> None:
    """Entry point: the first word may name a part."""
    from fcnexp.cli import entry, messages

    if len(sys.argv) > 1 and sys.argv[1] in PARTS:
        sys.argv[1] = f"part={sys.argv[1]}"
    elif len(sys.argv) > 1 and sys.argv[1].isalpha():
        messages.fail(
            ConfigError(f"{sys.argv[1]}: the first word must be one of {', '.join(PARTS)}")
        )
    entry.run(bench, "bench")


if __name__ == "__main__":
    main()
