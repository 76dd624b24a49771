"""Sweeps whose rows form no grid."""

from collections.abc import Mapping
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from fcnexp.errors import ConfigError

EXAMPLE = "rows: [{model: fcn32s, regime.lr: 1e-3}, {model: fcn8s, regime.lr: 1e-4}]"


class RowSweeper(BasicSweeper):
    """Hydra's basic sweeper, whose jobs also run with each of some rows.

    The rows change fastest, so that a sweep that is cut short still compares them all. A key on the
    command line replaces that of a row. Raises ConfigError.
    """

    def __init__(self, params: Any, rows: Any, max_batch_size: int | None) -> None:
        # What Hydra's constructor does: it cannot be called once Hydra has loaded its module again.
        self.overrides, self.batch_index, self.max_batch_size = None, 0, max_batch_size
        self.params = {key: text_of(value) for key, value in (params or {}).items()}
        self.rows = OmegaConf.to_container(rows) if OmegaConf.is_config(rows) else rows

    def split_arguments(  # type: ignore[override]  # Hydra's needs no instance
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Return the overrides of the jobs of each launch."""
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
        given = {override.get_key_element().lstrip("+~") for override in overrides}
        rows = [
            [word for key, word in row.items() if key not in given] for row in self._read_rows()
        ]
        jobs = [[*row, *job] for job in jobs for row in rows] if rows else jobs
        return list(BasicSweeper.split_overrides_to_chunks(jobs, max_batch_size))

    def _read_rows(self) -> list[dict[str, str]]:
        """Overrides of each row by key."""
        rows = self.rows or []
        if not isinstance(rows, list) or not all(isinstance(r, Mapping) and r for r in rows):
            raise ConfigError(f"hydra.sweeper.rows={rows}: must be a list of rows, as {EXAMPLE}")
        parser, read = OverridesParser.create(), []
        for row in rows:
            words = {str(key).lstrip("+~"): f"{key}={text_of(value)}" for key, value in row.items()}
            for key, word in words.items():
                if key in self.params:
                    raise ConfigError(f"hydra.sweeper: {key} is in params and in rows; choose one")
                if parser.parse_override(word).is_sweep_override():
                    raise ConfigError(
                        f"hydra.sweeper.rows: {word} has several values; a row has one, params may "
                        "have several"
                    )
            read.append(words)
        return read


def text_of(value: Any) -> str:
    """Return a value of a YAML file as Hydra's grammar has it; text is taken as it is."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{text_of(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
