"""What `prepare check` says of a data set beside its tables: what would train or score wrongly."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fcnexp.data.alignment import change_of_one, suspicious
from fcnexp.data.checking import Report, absent_text, shortened
from fcnexp.data.likeness import alike, same
from fcnexp.data.mask_values import meaning, written
from fcnexp.scoring.tasks import Task

if TYPE_CHECKING:
    from fcnexp.data.palette import ClassesFile

SHOWN = 5  # names or groups listed on the terminal; check.json has all
GROUPS = {
    "same": ("the same picture, pixel by pixel", same),
    "alike": ("nearly the same picture", alike),
}

Groups = list[list[str]]  # of pictures, each as `train/NAME`


def findings(by_task: Mapping[Task, Sequence[Report]]) -> tuple[list[str], dict]:
    """Lines to print, and plain values for check.json."""
    lines = [
        absent_text(absent, f"any {f'{task.name} ' * task.is_further}label of {report.split}")
        for task, of_task in by_task.items()
        for report in of_task
        if (absent := report.absent(task.classes))
    ]
    reports = next(iter(by_task.values()))  # pictures are the same for all tasks
    notes = {report.split: _notes(report) for report in reports}
    for report in reports:
        lines += _note_lines(report)
    groups = repeated_pictures(reports)
    for kind, (what, _) in GROUPS.items():
        lines += _group_lines(groups[kind], what)
    alignment = {report.split: _alignment(report) for report in reports}
    lines += [line for each in alignment.values() if (line := each["finding"])]
    return lines, {"exif": notes, "repeated_pictures": groups, "alignment": alignment}


def mask_values(report: Report, classes: "ClassesFile") -> list[dict[str, Any]]:
    """Stored values of the masks, the most frequent first, with their meaning."""
    total = max(1, sum(report.stored.values()))
    return [
        {
            "value": written(value),
            "means": meaning(value, classes),
            "share": count / total,
            "masks": report.masks_with[value],
        }
        for value, count in report.stored.most_common()
    ]


def _notes(report: Report) -> dict[str, Any]:
    return {
        name: {"orientation": orientation, "applied": applied}
        for name, (orientation, applied) in report.notes.items()
    }


def _note_lines(report: Report) -> Iterator[str]:
    if report.notes:
        applied = sum(applied for _, applied in report.notes.values())
        count = len(report.notes)
        yield (
            f"EXIF: {count} of {report.images} photographs of {report.split} have a note that turns"
            f" them ({shortened(list(report.notes), SHOWN, 'more')}); the masks of {applied} were "
            f"drawn on the turned photograph, of {count - applied} on the stored one"
        )


def repeated_pictures(reports: Sequence[Report]) -> dict[str, Groups]:
    """Groups of pictures that are the same, and nearly the same, in all splits together."""
    looks = {f"{r.split}/{name}": look for r in reports for name, look in r.looks.items()}
    names, values = list(looks), list(looks.values())
    return {
        kind: [[names[i] for i in group] for group in find(values)]
        for kind, (_, find) in GROUPS.items()
    }


def _group_lines(groups: Groups, what: str) -> Iterator[str]:
    across = [group for group in groups if len({name.split("/", 1)[0] for name in group}) > 1]
    within = [group for group in groups if group not in across]
    if across:
        yield (
            f"LEAK: {what} in train and val, {_times(across)}; the scores of such pictures mean "
            "little: remove them from one of the lists"
        )
    if within:
        yield f"REPEATED: {what} in one split, {_times(within)}"


def _times(groups: Groups) -> str:
    shown = [" = ".join(group[:SHOWN]) for group in groups[:SHOWN]]
    more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    times = "once" if len(groups) == 1 else f"{len(groups)} times"
    return f"{times} ({'; '.join(shown)}{more})"


def _alignment(report: Report) -> dict[str, Any]:
    """Masks that were judged, what is suspicious of many, and single ones with their change."""
    single = {name: change for name, fit in report.fits.items() if (change := change_of_one(fit))}
    found: dict[str, Any] = {"masks": len(report.fits), "finding": None, "single": single}
    for noted in (False, True):  # photographs with an EXIF note may have other masks
        fits = [fit for name, fit in report.fits.items() if (name in report.notes) == noted]
        if (habit := suspicious(fits)) is not None:
            which = " of photographs with an EXIF note" if noted else ""
            found["finding"] = (
                f"ALIGNMENT: {habit[1]} of {len(fits)} masks of {report.split}{which} fit the "
                f"edges in their photographs better if {habit[0]}; look at sheet.png"
                f"{', and see data.upright' if noted else ''}"
            )
            return found
    if single:
        each = [f"{name} ({change})" for name, change in single.items()]
        found["finding"] = (
            f"ALIGNMENT: {len(single)} of {len(report.fits)} masks of {report.split} fit the edges "
            f"in their photographs much better if changed: {shortened(each, SHOWN, 'more')}; look "
            "at them"
        )
    return found
