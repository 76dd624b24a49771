"""Draw docs/camvid_skips.png from the runs of sweeps=camvid_skips; not a test.

python tests/figure_of_skips.py REPORT_CSV SWEEP_FOLDER

REPORT_CSV is the report.csv that `fcnexp.report SWEEP_FOLDER` writes.

On the left, the mean IU of each row with the report's 95 % interval; on the right, the IU of small
and thin classes, each the mean over seeds.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

ROWS = {
    "fcn32s_fixed": "32s-fixed",
    "fcn32s": "32s",
    "fcn16s": "16s",
    "fcn8s": "8s",
    "fcn4s": "4s",
    "fcn2s": "2s",
}
CLASSES = ["bicyclist", "pedestrian", "sign", "pole"]
PAGE = Path(__file__).parents[1] / "docs" / "camvid_skips.png"


def main(report: str, sweep: str) -> None:
    """Read the report and the runs, and write the figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with open(report, newline="") as file:
        lines = {line["model"]: line for line in csv.DictReader(file) if line["model"]}
    rows = [row for row in ROWS if row in lines]
    at = range(len(rows))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    middle, low, high = (
        100 * np.array([float(lines[row][key]) for row in rows])
        for key in ("miou", "miou_low", "miou_high")
    )
    left.errorbar(at, middle, [middle - low, high - middle], marker="o", capsize=4)
    left.set(title="mean IU, 11 classes (%)")
    for name in CLASSES:
        right.plot(at, [100 * class_iou(sweep, row, name) for row in rows], "o-", label=name)
    right.set(title="IU of small and thin classes (%)", ylim=(0, 65))
    right.legend(loc="upper left", ncols=2)
    for axes in (left, right):
        axes.set_xticks(at, [ROWS[row] for row in rows])
        axes.set_xlabel("FCN")
        axes.grid(alpha=0.3)
    figure.savefig(PAGE, dpi=110)


def class_iou(sweep: str, row: str, name: str) -> float:
    """Return the IU of a class, mean over the seeds of a row."""
    results = (json.loads(path.read_text()) for path in Path(sweep).glob("*/result.json"))
    return float(np.mean([r["class_iou"][name] for r in results if r["choices"]["model"] == row]))


if __name__ == "__main__":
    main(*sys.argv[1:])
