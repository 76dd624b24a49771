"""Tables for the terminal, with scores in percent."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from fcnexp.papers.published import published
from fcnexp.reporting.image_facts import ends_text
from fcnexp.reporting.records import percent
from fcnexp.system.bands_file import BandsFile
from fcnexp.system.visible import visible

NAMES = {
    "pixel_acc": "pixel accuracy",
    "mean_acc": "mean accuracy",
    "miou": "mean IU",
    "fw_iou": "f.w. IU",
}
OF_FURTHER = ("pixel_acc", "miou")  # shown beside the first task's scores; all are in the CSV
MOST_VALUES = 30  # of masks, in a table
NUMERIC = ("seeds", "gain", *NAMES.values(), "training (s)")  # columns of a comparison


def print_results(result: dict[str, Any], paper: dict[str, Any] | None = None) -> None:
    """Print the scores of a run as `print_result` does, those of its further tasks last."""
    print_result(result, paper)
    for name, of_task in result.get("tasks", {}).items():
        print_result(of_task, paper, name)


def print_result(
    result: dict[str, Any], paper: dict[str, Any] | None = None, task: str | None = None
) -> None:
    """Print the four scores, the published ones if the run names a row, and per-class scores.

    result: result.json, or its part on a further task. task: name of this task.
    """
    of_task = f", {task}" if task else ""
    scores = _table(f"Scores (%){of_task}", "", *NAMES.values())
    scores.add_row("this run", *(percent(result["scores"][key]) for key in NAMES))
    intervals = result.get("intervals")
    if intervals:
        ends = [ends_text(intervals["scores"][key]) for key in NAMES]
        scores.add_row("95 % interval", *ends)
    theirs = published(paper)
    if theirs is not None and task is not None:
        theirs = theirs.of_task(task)
    if theirs is not None:
        mark = "" if theirs.status == "verified" else f" ({theirs.status})"
        row = f"{theirs.row}, {theirs.source}{mark}"
        scores.add_row(row, *(str(theirs.scores.get(key, "-")) for key in NAMES))
    more = ["interval of IU"] if intervals else []
    classes = _table(f"Classes (%){of_task}", "class", "IU", "accuracy", *more)
    for name, iu in result["class_iou"].items():
        ends = [ends_text(intervals["class_iou"][name])] if intervals else []
        classes.add_row(name, percent(iu), percent(result["class_acc"][name]), *ends)
    _show(classes, scores)
    if absent := [name for name, accuracy in result["class_acc"].items() if accuracy is None]:
        from fcnexp.data.checking import shortened  # imports torch

        print(
            f"NO PIXEL of {shortened(absent)} in the ground truth: the scores only show how well "
            "the other classes are labelled"
        )
    print_conventions(result["conventions"])


def print_conventions(conventions: dict[str, dict[str, Any]]) -> None:
    """Print the scores of the same predictions in other conventions, if they do not all agree.

    Means over images, which never agree, follow in a table of their own.
    """
    by_image = {name: each for name, each in conventions.items() if "over_images" in each}
    print_matrix_conventions({n: each for n, each in conventions.items() if n not in by_image})
    if not by_image:
        print("not listed: torchmetrics' segmentation.MeanIoU, which averages over images")
        return
    table = _table("The same predictions, each image scored by itself (%)", "convention", "mean IU")
    table.add_column("rule")
    for name, each in by_image.items():
        table.add_row(name, percent(each["miou"]), each["over_images"])
    _show(table)


def print_matrix_conventions(conventions: dict[str, dict[str, Any]]) -> None:
    """Print the scores of one confusion matrix in several conventions, unless they agree."""
    shown = {
        name: [percent(scores[key]) for key in ("miou", "pixel_acc", "mean_acc")]
        for name, scores in conventions.items()
    }
    means = {scores["miou"] for scores in conventions.values()}
    accuracies = {scores["mean_acc"] for scores in conventions.values()} - {None}
    if len(means) == 1 and len(accuracies) == 1:
        return
    title = "The same predictions in other conventions (%)"
    table = _table(title, "convention", "mean IU", "pixel acc.", "mean acc.")
    for column in table.columns:
        column.no_wrap = True
    for name in ("absent class", "predicted only"):  # how such a class is counted
        table.add_column(name)
    for name, cells in shown.items():
        table.add_row(name, *cells, *conventions[name]["counted_as"].values())
    _show(table)


def print_groups(groups: list[dict[str, Any]], fixed: dict[str, int]) -> None:
    """Print the learning rate of each parameter group, and the frozen parameters.

    groups: the optimiser's parameter groups. fixed: counts of frozen numbers by kind.
    """
    table = _table("Trainable parameters", "parameters", "count", "rate", "decay")
    for group in groups:
        count = sum(parameter.numel() for parameter in group["params"])
        rate, decay = (f"{group[key]:g}" for key in ("lr", "weight_decay"))
        table.add_row(group["name"], f"{count:,}", rate, decay)
    for name, count in fixed.items():
        if count:
            table.add_row(name, f"{count:,}", "frozen", "-")
    _show(table)


def print_balance(
    class_names: Sequence[str], fractions: Iterable[float], weights: Iterable[float]
) -> None:
    """Print the fraction of labelled training pixels and the loss weight of each class."""
    table = _table("Class balance", "class", "labelled pixels (%)", "weight")
    for name, fraction, weight in zip(class_names, fractions, weights, strict=True):
        table.add_row(name, f"{100 * fraction:.2f}", f"{weight:.3g}")
    _show(table)


def print_check(
    reports: Sequence[Any], class_names: tuple[str, ...], task: str | None = None
) -> None:
    """Print statistics of each split of a data set; see `data.checking.Report`.

    Splits of which nothing could be read are left out. task: a further one that the statistics are
    of, None for the first.
    """
    reports = [report for report in reports if report.images]
    if not reports:
        return
    splits = _table("Splits", "", "images", "broken", "smallest", "largest", "void (%)")
    for report in reports:
        sizes = sorted(report.sizes, key=lambda size: size[0] * size[1])
        ends = [f"{h}x{w}" for h, w in (sizes[0], sizes[-1])] if sizes else ["-", "-"]
        void = f"{100 * report.void_share:.2f}"
        counts = (str(report.images), str(len(report.troubles)))
        splits.add_row(report.split, *counts, *ends, void)
    columns = [name for report in reports for name in (report.split, "images")]
    of_task = f", {task}" if task else ""
    classes = _table(f"Labelled pixels (%), and images with the class{of_task}", "class", *columns)
    facts = [report.facts(class_names)["classes"] for report in reports]
    for name in class_names:
        cells = [(f"{100 * f[name]['share']:.2f}", str(f[name]["images"])) for f in facts]
        classes.add_row(name, *(cell for pair in cells for cell in pair))
    _show(splits, classes)


def print_bands(found: BandsFile, moments: Any) -> None:
    """Print what the training images hold, band by band; see `data.band_statistics.Moments`."""
    table = _table("Bands", "band", "mean", "deviation", "smallest", "largest", "missing (%)")
    colours = dict(zip(found.rgb or (), ("red", "green", "blue"), strict=False))
    columns = (moments.mean, moments.std, moments.low, moments.high)
    for band, values in enumerate(zip(*columns, strict=True), start=1):
        missing, known = moments.missing[band - 1], moments.known[band - 1]
        cells = [f"{value:.6g}" for value in values] if known else ["-"] * 4
        share = f"{100 * missing / (missing + known):.2f}"
        table.add_row(f"{band} {colours.get(band, '')}".strip(), *cells, share)
    _show(table)
    for key, value in (("axes", found.axes), ("nodata", found.nodata)):
        if value is not None:
            print(f"{key} {value}")


def print_mask_values(split: str, values: Sequence[dict[str, Any]]) -> None:
    """Print the values that the masks of a split store; see `findings.mask_values`."""
    if not values:
        return
    table = _table(f"Values in the masks of {split}", "value", "pixels (%)", "masks")
    table.add_column("means")
    for each in values[:MOST_VALUES]:
        share = f"{100 * each['share']:.2f}"
        table.add_row(each["value"], share, str(each["masks"]), each["means"])
    _show(table)
    if len(values) > MOST_VALUES:
        print(f"and {len(values) - MOST_VALUES} more values, see check.json")


def print_comparison(cells: Sequence[Sequence[str]], title: str) -> None:
    """Print a comparison of runs; the first line of cells is the header."""
    console = Console(highlight=False, markup=False)
    cells, title = [[visible(cell) for cell in line] for line in cells], visible(title)
    table = _comparison(cells, title)
    needed = table.__rich_measure__(console, console.options.update(max_width=1000)).maximum
    if not console.is_terminal:  # output to a file may be as wide as needed
        console = Console(highlight=False, markup=False, width=max(needed, console.width))
    elif needed > console.width:
        table = _comparison(stacked(cells), title)
    console.print(table)


def stacked(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    """The same table with all settings of a row stacked in its first column."""
    head = cells[0]
    first = next((i for i, name in enumerate(head) if _is_numeric(name)), len(head))
    lines = [["row", *head[first:]]] if first else [list(head)]
    for line in cells[1:]:
        settings = [f"{name}={value}" for name, value in zip(head[:first], line, strict=False)]
        lines.append((["\n".join(settings)] if first else []) + list(line[first:]))
    return lines


def _is_numeric(name: str) -> bool:
    """True for the columns of a comparison that hold numbers, also those of further tasks."""
    return name in NUMERIC or name.endswith(tuple(f" {NAMES[key]}" for key in OF_FURTHER))


def score_names(tasks: Iterable[str]) -> dict[str, str]:
    """Names of the scores in a comparison by key; tasks: names of all but the first."""
    further = {f"{task}_{key}": f"{task} {NAMES[key]}" for task in tasks for key in OF_FURTHER}
    return NAMES | further


def _comparison(cells: Sequence[Sequence[str]], title: str) -> Table:
    """A table without vertical lines, to fit as much as possible into 80 columns."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in cells[0]:
        if _is_numeric(name):  # numbers never wrap, so wrap their headers
            table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    for line in cells[1:]:
        table.add_row(*line, end_section="\n" in line[0])
    return table


def _table(title: str, first: str, *numeric: str) -> Table:
    """A table with a left-aligned first column and right-aligned others."""
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in numeric:
        table.add_column(name, justify="right")
    return table


def _show(*tables: Table) -> None:
    """Print tables; without borders if the output is not a terminal."""
    console = Console(highlight=False, markup=False)
    for table in tables:
        # Rich breaks a title into lines as wide as the table, letter by letter if need be.
        table.min_width = min(len(str(table.title)), console.width)
        if not console.is_terminal:
            table.box = None
        console.print(table)
