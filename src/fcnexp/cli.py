"""Running an entry point: Hydra around it, one clear line where the user made a mistake."""

import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnexp import machine, paths, resources
from fcnexp.confidential import refuse_secrets, withhold_secrets
from fcnexp.config import (
    compose_run,
    did_you_mean,
    key_paths,
    offer_resolvers,
    plain_message,
)
from fcnexp.errors import ConfigError, UserError
from fcnexp.sweep.ledger import LOCK, is_held
from fcnexp.trust import refuse_foreign_code

# Options that others provide, and the extra of pyproject.toml that installs them.
EXTRAS = {"joblib": "sweep", "submitit_local": "sweep", "submitit_slurm": "sweep"}
EXTRAS |= {"optuna": "optuna"}
# Optuna's, when it looks for the best of no trials: kept in memory, and in a file.
NO_TRIALS = ("No trials are completed yet.", "Record does not exist.")
MISTAKES = (UserError, HydraException, OmegaConfBaseException)


def run(task: Callable[[DictConfig, Path], float | None], config_name: str) -> None:
    """Compose the config from the command line and call the task with it and its run folder.

    A user's mistake ends the process with one message and exit code 1; in a multirun it fails that
    job only. Anything else is a bug and shows its traceback.
    """
    refuse_wrong_sweep(sys.argv[1:], config_name)
    try:
        refuse_secrets(sys.argv[1:])
        if config_name in ("train", "evaluate"):  # may have several processes
            machine.rank()  # before Lightning is imported, which reads the environment
    except ConfigError as error:
        fail(error)
    offer_resolvers()
    withhold_secrets()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # hand us the error instead of printing it
    quiet_libraries()

    def job(cfg: DictConfig) -> float | None:
        settings = HydraConfig.get()
        folder = Path(settings.runtime.output_dir).resolve()
        try:
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
            with suppress(OSError):  # of a machine that can do no more, which was told of
                remove_if_empty(folder, f"{settings.job.name}.log")

    try:
        hydra.main(version_base="1.3", config_path=str(paths.conf_dir()), config_name=config_name)(
            job
        )()
    except Exception as error:
        if str(error) in NO_TRIALS:
            error = ConfigError(
                "hydra/sweeper: no trial of the study came to its end, so none is best"
            )
        elif isinstance(error, ValueError) and "Config group override must be" in str(error):
            empty = [a for a in sys.argv[1:] if a[:1] == "=" or a.partition("=")[2] in ("", "null")]
            error = ConfigError(
                f"{' '.join(empty)}: a group cannot be null: leave it out, or name an option"
            )
        fail_or_raise(error, config_name)


def refuse_wrong_sweep(arguments: list[str], config_name: str) -> None:
    """End with one line where `sweeps` is written in a way that Hydra would take for another."""
    for argument in arguments:
        key, given, names = argument.partition("=")
        if not given or key.lstrip("+") not in ("sweep", "sweeps"):
            continue
        home = {"bounds": "bounds"}.get(names, "train")
        if key != "sweeps":
            fail(ConfigError(f"{argument}: a sweep is chosen by sweeps={names}"))
        if "," in names:
            fail(ConfigError(f"{argument}: one sweep a command; give the others after it"))
        if home != config_name:
            fail(ConfigError(f"{argument}: it is a sweep of python -m fcnexp.{home} {argument}"))


def what_was_typed() -> dict[str, Any]:
    """What this run was told, for its record: by whatever way, and not what follows from it.

    choices: option by group, null where there is none. typed: keys, of a sweep's jobs as well.
    """
    settings = HydraConfig.get()
    choices = {
        group: option
        for group, option in sorted(settings.runtime.choices.items())
        if "/" not in group and group not in ("sweeps", "recipe")
    }
    keys = [override.partition("=")[0].lstrip("+~") for override in settings.overrides.task]
    return {"choices": choices, "typed": keys}


def offer_data_of_checkpoint(arguments: list[str]) -> None:
    """Make the `data` that a checkpoint was scored on an option of that group.

    So `data.val_split=...` changes the stored choice, and `data=voc` replaces it. Without a
    readable checkpoint on the command line the option is empty, and the run tells what is wrong.
    """
    node: dict = {}
    try:
        parsed = OverridesParser.create().parse_overrides(
            [a for a in arguments if a.lstrip("+").startswith("checkpoint=")]
        )
        if parsed and not parsed[-1].is_sweep_override():
            from fcnexp.nn.checkpoints import read_checkpoint

            stored = read_checkpoint(str(parsed[-1].value()), mapped=True)
            node = stored["fcnexp"]["config"]["data"]
            refuse_foreign_code(node, str(parsed[-1].value()))
    except MISTAKES as error:
        fail(error, "evaluate")
    ConfigStore.instance().store(group="data", name="of_checkpoint", node=node)


def fail(error: Exception, config_name: str = "train") -> NoReturn:
    """Print what is wrong and leave with exit code 1."""
    print(f"error: {mistake(error, config_name)}", file=sys.stderr)
    raise SystemExit(1)


def fail_or_raise(error: Exception, config_name: str, folder: Path | None = None) -> NoReturn:
    """Print what is wrong and leave with exit code 1; raise what nobody but we can mend.

    folder: of the run, if it has begun.
    """
    message = message_of(error, config_name, folder)
    if message is None:
        raise error
    sys.unraisablehook = lambda _: None  # of objects half made; what is wrong is told here
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def message_of(
    error: BaseException, config_name: str, folder: Path | None = None, again: str = ""
) -> str | None:
    """What to tell of a user's mistake or a fault of the machine; None for a bug of ours.

    folder: of the run. again: how it goes on, where not by its own command.
    """
    if isinstance(error, UserError):
        return mistake(error, config_name)
    command = resources.COMMANDS.get(config_name, resources.ANY)
    if (told := resources.in_words(error, command, folder)) is None:
        return mistake(error, config_name) if isinstance(error, MISTAKES) else None
    return f"{told}; then {again or _going_on(folder)}"


def _going_on(folder: Path | None) -> str:
    """What to type once the machine can go on."""
    if folder is None or not (folder / "checkpoints").is_dir():
        return "give the same command again"
    from fcnexp import runs  # slow to import

    with suppress(UserError, OSError, MemoryError, RuntimeError):
        stopped = runs.last_checkpoint(folder)
        step = 0 if stopped is None else stopped.step
        return f"the same command with hydra.run.dir={folder} goes on from step {step}"
    return f"the same command with hydra.run.dir={folder} goes on"


def mistake(error: Exception, config_name: str = "train") -> str:
    """What to tell the user of a mistake."""
    message = str(error) if isinstance(error, UserError) else explain(error, config_name)
    # One that was raised in a process reading images carries that process's traceback in its text.
    return message.rsplit(f"{type(error).__module__}.{type(error).__name__}: ", 1)[-1].strip()


def explain(error: Exception, config_name: str) -> str:
    """Hydra's message about an override, shortened, with the nearest existing name."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read as KEY=VALUE ({text.splitlines()[0]}); a value with "
            "special signs wants two pairs of quotes, as in 'data.root=\"~/VOC\"'"
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1]
        key = getattr(error.__cause__, "full_key", None) or key  # of a dict: the key inside
        return no_such_key(key, _config_of_choices(config_name))
    if found := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        if extra := EXTRAS.get(found[2]):
            return f"{found[1]}={found[2]}: not installed; pip install -e '.[{extra}]'"
        homes = (paths.conf_dir(), paths.conf_dir().parent)  # the latter holds `sweeps`
        options = sorted(p.stem for home in homes for p in (home / found[1]).glob("*.yaml"))
        near = did_you_mean(found[2], options)
        return f"{found[1]}={found[2]}: no such option{near}; there are {', '.join(options)}"
    return plain_message(error)


def remove_if_empty(folder: Path, log_file: str) -> None:
    """Remove a run folder that holds nothing but, perhaps, this job's log and lock.

    Not where another process is at work in it, which has written nothing yet.
    """
    traces = {log_file, LOCK}
    if not folder.is_dir() or is_held(folder):
        return
    if {path.name for path in folder.iterdir()} <= traces:
        for name in traces:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def quiet_libraries() -> None:
    """Keep from the terminal what a user of fcnexp can do nothing about."""
    os.environ.setdefault("WANDB_SILENT", "true")
    logging.raiseExceptions = False  # of a log, on a full disk
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


def no_such_key(key: str, config: dict) -> str:
    """What to say of a key that the config lacks: the nearest one, and what its node has."""
    parent = key.rpartition(".")[0]
    node = OmegaConf.select(OmegaConf.create(config), parent) if parent else None
    own = [str(name) for name in node or () if not str(name).startswith("_")]
    has = f"; {parent} has {', '.join(own)}" if own else ""
    inside = [path for path in key_paths(config) if path.endswith(f".{key}")]
    near = f" (did you mean {inside[0]}?)" if inside else did_you_mean(key, key_paths(config))
    return f"{key}: no such key{near}{has}; --cfg job prints them all"


def _config_of_choices(config_name: str) -> dict:
    """The config with the options chosen on the command line, but none of the values."""
    chosen = [a for a in sys.argv[1:] if re.fullmatch(r"\w+=\w+", a)]
    for overrides in (chosen, []):  # a choice may be what is wrong
        try:
            config = OmegaConf.to_container(compose_run(overrides, config_name), resolve=False)
        except HydraException:
            continue
        assert isinstance(config, dict)
        return config
    return {}
