"""Run an entry point under Hydra, and answer a user's mistake with one clear line."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import chdir, nullcontext, suppress
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fcnexp import __version__
from fcnexp.cli.arguments import may_sweep, prepared
from fcnexp.cli.file_names import as_they_are
from fcnexp.cli.messages import MISTAKES, fail, fail_or_raise
from fcnexp.config.compose import conf_dir, offer_resolvers
from fcnexp.config.hydra_versions import of_main
from fcnexp.config.secrets import refuse_secrets, refuse_stored, withhold_secrets
from fcnexp.config.stored_data import of_checkpoint
from fcnexp.errors import ConfigError
from fcnexp.run.locks import LOCK, is_held
from fcnexp.system import this_process

FLAGS = ("Only one of --run", "The --resolve flag")  # Hydra's errors about its own flags


def run(task: Callable[[DictConfig, Path], float | None], config_name: str) -> None:
    """Compose the config from the command line and call the task with it and its run folder.

    A user's mistake ends the process with one message and exit code 1; in a multirun it fails that
    job only. Anything else is a bug and shows its traceback.
    """
    if "--version" in sys.argv[1:]:
        print(f"fcnexp {__version__}")
        return
    refuse_wrong_sweep(sys.argv[1:], config_name)
    offer_resolvers()
    try:
        refuse_secrets(sys.argv[1:])
        sys.argv[1:] = prepared(sys.argv[1:], config_name)
        if config_name in ("train", "evaluate"):  # may have several processes
            this_process.rank()  # before Lightning is imported, which reads the environment
    except ConfigError as error:
        fail(error)
    withhold_secrets()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # hand us the error instead of printing it
    quiet_libraries()

    started = False

    def job(cfg: DictConfig) -> float | None:
        nonlocal started
        started = True
        settings = HydraConfig.get()
        folder = Path(settings.runtime.output_dir).resolve()
        try:
            refuse_stored(OmegaConf.to_container(cfg))
            # With hydra.job.chdir=true Hydra has left the folder where relative paths start.
            with chdir(settings.runtime.cwd) if settings.job.chdir else nullcontext():
                return task(cfg, folder)
        except Exception as error:
            if settings.mode == RunMode.MULTIRUN:
                raise
            fail_or_raise(error, config_name, folder)
        except (KeyboardInterrupt, SystemExit) as end:
            by_ctrl_c = isinstance(end.__context__ or end, KeyboardInterrupt)  # Lightning exits
            if settings.mode == RunMode.MULTIRUN or not by_ctrl_c:
                raise
            print("stopped by Ctrl-C", file=sys.stderr)
            raise SystemExit(128 + signal.SIGINT) from None
        finally:
            with suppress(OSError):  # a full or failing disk has been reported by now
                remove_if_empty(folder, f"{settings.job.name}.log")

    try:
        hydra.main(config_path=str(conf_dir()), config_name=config_name, **of_main())(job)()
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not started:  # Hydra makes the run's folder
            why = f"{error.filename}: cannot be made ({error.strerror})"
            error = ConfigError(f"{why}; choose another hydra.run.dir or hydra.sweep.dir")
        elif isinstance(error, ValueError) and str(error).startswith(FLAGS):
            error = ConfigError(str(error))
        elif isinstance(error, ValueError) and "Config group override must be" in str(error):
            empty = [a for a in sys.argv[1:] if a.partition("=")[2] in ("", "null")]
            error = ConfigError(
                f"{' '.join(empty)}: a group cannot be null; leave it out, or name an option"
            )
        fail_or_raise(error, config_name)


def refuse_wrong_sweep(arguments: list[str], config_name: str) -> None:
    """Exit with one line if `sweeps` is written in a way that Hydra would misread."""
    for argument in arguments:
        key, given, names = argument.partition("=")
        if not given or key.lstrip("+") not in ("sweep", "sweeps"):
            continue
        home = {"bounds": "bounds"}.get(names, "train")
        if key != "sweeps":
            fail(ConfigError(f"{argument}: to choose a sweep, write sweeps={names}"))
        if "," in names:
            fail(ConfigError(f"{argument}: only one sweep per command; run the others separately"))
        if home != config_name:
            fail(ConfigError(f"{argument}: this sweep runs as python -m fcnexp.{home} {argument}"))


def offer_data_of_checkpoint(arguments: list[str]) -> None:
    """Register the `data` node stored in a checkpoint as an option of the `data` group.

    `data.val_split=...` then changes the stored choice, and `data=voc` replaces it. Without a
    readable checkpoint on the command line the option is empty, and the run reports the problem.
    """
    node: dict = {}
    try:
        named = [a for a in arguments if a.lstrip("+").startswith("checkpoint=")]
        parsed = OverridesParser.create().parse_overrides(
            as_they_are(named, sweeps=may_sweep(arguments))
        )
        if parsed and not parsed[-1].is_sweep_override():
            from fcnexp.nn.weights.checkpoints import read_checkpoint

            stored = read_checkpoint(str(parsed[-1].value()), mapped=True)
            node = of_checkpoint(stored["fcnexp"]["config"]["data"], str(parsed[-1].value()))
    except MISTAKES as error:
        fail(error, "evaluate")
    ConfigStore.instance().store(group="data", name="of_checkpoint", node=node)


def remove_if_empty(folder: Path, log_file: str) -> None:
    """Remove a run folder that holds at most this job's log and lock.

    A folder in which another process works is kept, even if that has written nothing yet.
    """
    traces = {log_file, LOCK}
    if not folder.is_dir() or is_held(folder):
        return
    if {path.name for path in folder.iterdir()} <= traces:
        for name in traces:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def quiet_libraries() -> None:
    """Silence messages of libraries that a user of fcnexp can do nothing about."""
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.raiseExceptions = False  # a full disk must not print a traceback per log line
    os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")  # its version is our pin
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message="The `srun` command is available")  # where Slurm is
    logging.getLogger("alembic").setLevel(logging.WARNING)  # Optuna's, on opening a study
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # its list of fonts, once
    for exporter in ("onnxscript", "onnx_ir"):  # each step of theirs, a hundred lines
        logging.getLogger(exporter).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*Previous log files in this directory.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # ours is
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
