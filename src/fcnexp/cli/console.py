"""Messages on the terminal, above the progress bars that are drawn there."""

import logging
import sys
from contextlib import nullcontext


class Console(logging.StreamHandler):
    """Handler of the terminal; see conf/hydra/job_logging. The log file gets the same messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message; bars are cleared before and drawn again after it."""
        tqdm = getattr(sys.modules.get("tqdm.std"), "tqdm", None)  # imported if there are bars
        drawn = bool(getattr(tqdm, "_instances", None))
        with tqdm.external_write_mode(self.stream) if tqdm and drawn else nullcontext():
            super().emit(record)
