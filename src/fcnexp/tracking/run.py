"""One W&B run, whose failures never stop the training. Does not import torch or Lightning."""

import importlib.util
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fcnexp.errors import ConfigError
from fcnexp.system.checkpoint_store import BEST, LAST
from fcnexp.tracking.run_ids import Facts, keep_id

log = logging.getLogger(__name__)

MODES = ("online", "offline")
CHECKPOINTS = {"last": LAST, "best": BEST}  # of logger.wandb.checkpoint, files
STEP = "trainer/global_step"  # the step that Lightning's logger uses


class Choice(NamedTuple):
    """Destination of a run.

    wait: seconds to wait for the server, at the start and at the end. checkpoint: which one to
    upload, a key of CHECKPOINTS, or None.
    """

    project: str
    entity: str | None
    mode: str
    wait: float
    checkpoint: str | None = None


class Tracked:
    """A W&B run in progress. Data that W&B cannot take is dropped after one warning."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.folder = Path(run.settings.sync_dir)
        self.lost = False

    def log(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Log one line of history. `make` is called in here because writing images may fail."""
        self._carefully(lambda: self.run.log(dict(make())))

    def share(self, path: Path, kind: str, facts: Mapping[str, Any]) -> None:
        """Upload a checkpoint as an artifact of type model. kind: its alias, last or best."""
        import wandb

        def upload() -> None:
            model = wandb.Artifact(f"model-{self.run.id}", "model", metadata=dict(facts))
            model.add_file(str(path), name=path.name)
            self.run.log_artifact(model, aliases=[kind])

        self._carefully(upload)

    def _carefully(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # W&B's process died, the disk is full, or anything else
            if not self.lost:
                message = "W&B stopped logging (%s); the record in the run folder continues"
                log.warning(message, _one_line(error))
            self.lost = True

    def finish(self, code: int) -> None:
        """End the run, as failed unless the code is 0. Waits at most `Choice.wait` seconds."""
        try:
            self.run.finish(exit_code=code)
        except TimeoutError:
            log.warning("W&B upload did not finish in time; run `wandb sync %s`", self.folder)
        except Exception as error:
            log.warning(
                "W&B cannot end the run (%s); data kept in %s", _one_line(error), self.folder
            )
            _forget()


@contextmanager
def tracked(
    choice: Choice, facts: Facts, config: dict[str, Any], folder: Path
) -> Iterator[Tracked | None]:
    """Start a W&B run that lasts for the block, and is marked as failed if an exception ends it.

    folder: of the run. If the server refuses or cannot be reached in time, a warning is logged and
    the run is stored locally. Yields None if even that fails.
    """
    run = _begin(choice, facts, config, folder)
    code = 1
    try:
        yield run
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        raise
    finally:
        if run is not None:
            run.finish(code)


def refuse_without_key(asked: str, instead: str) -> None:
    """Raise ConfigError if there is no W&B API key on this machine. Never prompts.

    asked: what needs the key. instead: hint on what works without one.
    """
    import wandb
    from wandb.sdk.lib import wbauth  # searches all places where a key may be stored

    host = wandb.setup().settings.base_url
    try:
        key = wbauth.authenticate_session(
            host=host, source="fcnexp", prompt=False, update_session=False
        )
    except wandb.errors.Error as error:
        raise ConfigError(f"{asked}: {error}") from None
    if key is None:
        raise ConfigError(
            f"{asked}: no API key found; run `wandb login` once, or set WANDB_API_KEY; {instead}"
        )


def refuse_unusable(choice: Any, *, keep_best: bool) -> None:
    """Raise ConfigError if a logger cannot work: a wrong value, a missing extra or API key.

    choice: the config node `logger`. keep_best: the run keeps its best checkpoint.
    """
    for key, least in (("images", 0), ("side", 1)):
        if choice[key] < least:
            raise ConfigError(f"logger.{key}={choice[key]}: must be {least} or more")
    if choice.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("logger=tensorboard: not installed; try pip install -e '.[tensorboard]'")
    if choice.wandb is not None:
        if choice.wandb.mode not in MODES:
            raise ConfigError(
                f"logger.wandb.mode={choice.wandb.mode}: choose one of {', '.join(MODES)}; "
                "logger=csv turns W&B off"
            )
        kind = choice.wandb.checkpoint
        if kind not in (None, *CHECKPOINTS):
            raise ConfigError(f"logger.wandb.checkpoint={kind}: choose null, last or best")
        if kind == "best" and not keep_best:
            raise ConfigError("logger.wandb.checkpoint=best: add keep_best=true")
        if not 0 < choice.wandb.wait < math.inf:  # false for NaN
            raise ConfigError(f"logger.wandb.wait={choice.wandb.wait:g}: must be seconds above 0")
        if choice.wandb.mode == "online":
            refuse_without_key("logger=wandb_online", "logger=wandb logs locally without one")


def _begin(choice: Choice, facts: Facts, config: dict[str, Any], folder: Path) -> Tracked | None:
    import wandb  # slow to import

    folder.mkdir(parents=True, exist_ok=True)  # if it is missing, W&B writes elsewhere
    settings = wandb.Settings(
        init_timeout=choice.wait, finish_timeout=choice.wait, finish_timeout_raises=True
    )

    def begin(mode: str) -> Any:
        return wandb.init(
            project=choice.project,
            entity=choice.entity,
            mode=mode,  # type: ignore[arg-type]  # one of MODES
            dir=folder,
            id=facts.id,
            resume="allow",
            name=facts.name,
            group=facts.group,
            job_type=facts.kind,
            tags=facts.tags,
            config=config,
            settings=settings,
        )

    try:
        run = _begin_or_offline(begin, choice.mode)
    except Exception as error:  # disk, process, or anything else: the record does not depend on it
        message = "W&B cannot start (%s); the record in the run folder continues"
        log.warning(message, _one_line(error))
        return None
    if run.id != facts.id:  # the agent of a W&B sweep chose its own
        keep_id(folder, run.id)
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    return Tracked(run)


def _begin_or_offline(begin: Callable[[str], Any], mode: str) -> Any:
    """Start a run in this mode; if that fails, log a warning and start it offline.

    Offline mode is retried as well, since W&B's process may have died with the previous run.
    """
    try:
        return begin(mode)
    except Exception as error:
        reason = _one_line(error)
    _forget()  # else the failed attempt still holds the id
    run = begin("offline")
    if mode == "online":
        log.warning(
            "W&B cannot be reached (%s): run stored locally; upload it with `wandb sync %s`",
            reason,
            run.settings.sync_dir,
        )
    return run


def _forget() -> None:
    """Stop W&B's background process if there is one; the next run starts another."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _one_line(error: Exception) -> str:
    """Type and message of an error on one line, at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
