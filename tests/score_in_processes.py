"""`evaluate` of lists of several lengths, as a program: each process starts the same command.

`python score_in_processes.py DEVICES FOLDER LENGTHS`: FOLDER holds a checkpoint `last.ckpt`, and
data `own` with a list `first_N.txt` for each of LENGTHS, such as 0,1,2. The records are written to
FOLDER/DEVICES_LENGTH; each process's return value, or error message, to
FOLDER/DEVICES_LENGTH_RANK.json.
"""

import json
import sys
from pathlib import Path

from fcnexp.config.compose import compose_run
from fcnexp.errors import UserError
from fcnexp.evaluate import evaluate
from fcnexp.system import this_process

WIDTHS = (1, 3)


def score(devices: int, folder: Path, length: int) -> float | str | None:
    """Return the mean IU, or the error message."""
    given = [f"checkpoint={folder}/last.ckpt", "data=folder", f"data.root={folder}/own"]
    given += [f"data.val_split=first_{length}", f"trimap={list(WIDTHS)}", "workers=0", "pictures=0"]
    given += ["trainer=cpu", f"trainer.devices={devices}"]
    try:
        return evaluate(compose_run(given, "evaluate"), folder / f"{devices}_{length}")
    except UserError as error:
        return str(error)


if __name__ == "__main__":
    processes, place = int(sys.argv[1]), Path(sys.argv[2])
    for number in map(int, sys.argv[3].split(",")):
        returned = score(processes, place, number)
        record = place / f"{processes}_{number}_{this_process.rank()}.json"
        record.write_text(json.dumps(returned))
