"""Running an entry point: Hydra around it, one clear line where the user made a mistake."""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcnexp import paths
from fcnexp.config import compose_run, did_you_mean, key_paths, plain_message
from fcnexp.errors import UserError

MISTAKES = (UserError, HydraException, OmegaConfBaseException)


def run(task: Callable[[DictConfig, Path], float | None], config_name: str) -> None:
    """Compose the config from the command line and call the task with it and its run folder.

    A user's mistake ends the process with one message and exit code 1; in a multirun it fails that
    job only. Anything else is a bug and shows its traceback.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # hand us the error instead of printing it
    quiet_libraries()

    def job(cfg: DictConfig) -> float | None:
        settings = HydraConfig.get()
        folder = Path(settings.runtime.output_dir).resolve()
        try:
            return task(cfg, folder)
        except MISTAKES as error:
            remove_if_empty(folder)
            if settings.mode == RunMode.MULTIRUN:
                raise
            fail(error)

    try:
        hydra.main(version_base="1.3", config_path=str(paths.conf_dir()), config_name=config_name)(
            job
        )()
    except MISTAKES as error:
        fail(error, config_name)


def offer_data_of_checkpoint(arguments: list[str]) -> None:
    """Make the `data` that a checkpoint was scored on an option of that group.

    So `data.val_split=...` changes the stored choice, and `data=voc` replaces it. Without a
    readable checkpoint on the command line the option is empty, and the run tells what is wrong.
    """
    from hydra.core.config_store import ConfigStore

    node: dict = {}
    if named := [a.split("=", 1)[1] for a in arguments if a.startswith("checkpoint=")]:
        from fcnexp.nn.init import read_checkpoint

        try:
            node = read_checkpoint(named[-1])["fcnexp"]["config"]["data"]
        except UserError as error:
            fail(error)
    ConfigStore.instance().store(group="data", name="of_checkpoint", node=node)


def fail(error: Exception, config_name: str = "train") -> NoReturn:
    """Print what is wrong and leave with exit code 1."""
    message = str(error) if isinstance(error, UserError) else explain(error, config_name)
    # One that was raised in a process reading images carries that process's traceback in its text.
    message = message.rsplit(f"{type(error).__module__}.{type(error).__name__}: ", 1)[-1].strip()
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def explain(error: Exception, config_name: str) -> str:
    """Hydra's message about an override, shortened, with the nearest existing name."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as KEY=VALUE ({text.splitlines()[0]})"
    if found := re.search(r"Could not override '([^']+)'", text):
        key = found[1]
        key = getattr(error.__cause__, "full_key", None) or key  # of a dict: the key inside
        known = list(key_paths(_default_config(config_name)))
        return f"{key}: no such key{did_you_mean(key, known)}; --cfg job prints them all"
    if found := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        options = sorted(path.stem for path in (paths.conf_dir() / found[1]).glob("*.yaml"))
        near = did_you_mean(found[2], options)
        return f"{found[1]}={found[2]}: no such option{near}; there are {', '.join(options)}"
    return plain_message(error)


def remove_if_empty(folder: Path) -> None:
    """Remove a run folder in which nothing but an empty log was written."""
    if folder.is_dir() and all(p.suffix == ".log" and p.is_file() for p in folder.iterdir()):
        shutil.rmtree(folder)


def quiet_libraries() -> None:
    """Keep from the terminal what a user of fcnexp can do nothing about."""
    os.environ.setdefault("WANDB_SILENT", "true")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*Previous log files in this directory.*")


def _default_config(config_name: str) -> object:
    return OmegaConf.to_container(compose_run([], config_name), resolve=False)
