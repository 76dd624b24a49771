"""One W&B run, which may fail in any way without the training taking notice."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from fcnexp.errors import ConfigError
from fcnexp.tracking.run_ids import Facts, keep_id

log = logging.getLogger(__name__)

MODES = ("online", "offline")
STEP = "trainer/global_step"  # what Lightning's logger counts by


class Choice(NamedTuple):
    """Where a run goes. wait: seconds for the server, at most, at its beginning and at its end."""

    project: str
    entity: str | None
    mode: str
    wait: float


class Tracked:
    """A W&B run that has begun. What it cannot take is dropped after one warning."""

    def __init__(self, run: Any) -> None:
        self.run = run
        self.folder = Path(run.settings.sync_dir)
        self.lost = False

    def log(self, make: Callable[[], Mapping[str, Any]]) -> None:
        """Log one line of a run's history, made in here since pictures go to the disk at once."""
        try:
            self.run.log(dict(make()))
        except Exception as error:  # its process is gone, the disk is full: whatever it be
            if not self.lost:
                told = "W&B takes no more (%s); the record in the run folder goes on"
                log.warning(told, _words(error))
            self.lost = True

    def finish(self, code: int) -> None:
        """End the run, as failed where the code is not 0. Waits as long as `Choice.wait` says."""
        try:
            self.run.finish(exit_code=code)
        except TimeoutError:
            log.warning("W&B has not taken all in time; `wandb sync %s` sends it", self.folder)
        except Exception as error:
            log.warning(
                "W&B did not end well (%s); what it has is in %s", _words(error), self.folder
            )
            _forget()


@contextmanager
def tracked(
    choice: Choice, facts: Facts, config: dict[str, Any], folder: Path
) -> Iterator[Tracked | None]:
    """A W&B run that lasts as long as the block, and has failed if an exception ends it.

    folder: of the run. Where the server cannot be reached in time, or refuses, a warning says so
    and the run stays on this machine; None where not even that is possible.
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
    """Raise ConfigError where no API key of W&B is to be found on this machine. Asks nobody.

    asked: what needs one. instead: what does without.
    """
    import wandb
    from wandb.sdk.lib import wbauth  # knows all places that a key may lie in

    host = wandb.setup().settings.base_url
    try:
        key = wbauth.authenticate_session(
            host=host, source="fcnexp", prompt=False, update_session=False
        )
    except wandb.errors.Error as error:
        raise ConfigError(f"{asked}: {error}") from None
    if key is None:
        raise ConfigError(
            f"{asked}: no API key; run `wandb login` once, or set WANDB_API_KEY; {instead}"
        )


def _begin(choice: Choice, facts: Facts, config: dict[str, Any], folder: Path) -> Tracked | None:
    import wandb  # slow to import

    folder.mkdir(parents=True, exist_ok=True)  # where it is missing, W&B writes elsewhere
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
        run = _patiently(begin, choice.mode)
    except Exception as error:  # no disk, no process: whatever it be, the record does without
        log.warning("W&B cannot begin (%s); the record in the run folder goes on", _words(error))
        return None
    if run.id != facts.id:  # an agent of a W&B sweep has given its own
        keep_id(folder, run.id)
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    return Tracked(run)


def _patiently(begin: Callable[[str], Any], mode: str) -> Any:
    """A run in this mode, or offline where that fails, which a warning tells of.

    Once more offline, since the process that keeps W&B's runs may have died with the run before.
    """
    try:
        return begin(mode)
    except Exception as error:
        reason = _words(error)
    _forget()  # else the id is in use by the attempt that has failed
    run = begin("offline")
    if mode == "online":
        log.warning(
            "W&B cannot be reached (%s): this run stays on this machine; `wandb sync %s` sends it",
            reason,
            run.settings.sync_dir,
        )
    return run


def _forget() -> None:
    """End W&B's own process, if it is there; the next run starts another."""
    import wandb

    with suppress(Exception):
        wandb.teardown()


def _words(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
