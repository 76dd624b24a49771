"""What a report's page shows of the evidence: intervals, steps, and objects by size."""

from collections.abc import Sequence
from typing import Any

from fcnexp.reporting import curves
from fcnexp.reporting.comparison import Row
from fcnexp.reporting.evidence import Evidence
from fcnexp.reporting.evidence_tables import (
    class_steps,
    found_by_row,
    gain_text,
    p_text,
    step_name,
)
from fcnexp.reporting.image_facts import ends_text
from fcnexp.reporting.object_sizes import RULE, SHARES
from fcnexp.scoring.objects import BACKGROUND, over_classes, size_names
from fcnexp.scoring.paired import ALPHA


def evidence_view(rows: Sequence[Row], evidence: Evidence) -> dict[str, Any] | None:
    """Intervals of rows, steps between rows, and gains of classes; None if there are none."""
    spreads = [
        {
            "row": row,
            "images": ends_text(found.images),
            "seeds": found.seeds,
            "both": ends_text(found.both),
        }
        for row, found in zip(rows, evidence.spreads, strict=True)
        if found is not None
    ]
    if not spreads:
        return None
    steps = [
        {
            "name": step_name(rows, step),
            "gain": gain_text(step.difference),
            "value": step.difference.value,
            "over": "images and seeds" if step.difference.seeds else "images",
            "other_sign": step.difference.other_sign,
            "p": step.p,
            "p_text": p_text(step.p),
            "real": step.beyond_chance,
        }
        for step in evidence.steps.values()
    ]
    classes = {
        name: [
            value
            and {"gain": gain_text(value[0]), "value": value[0].value, "real": value[1] < ALPHA}
            for value in values
        ]
        for name, values in class_steps(evidence).items()
    }
    return {"spreads": spreads, "steps": steps, "classes": classes}


def object_view(
    rows: Sequence[Row], evidence: Evidence, sizes: Sequence[float]
) -> dict[str, Any] | None:
    """Curves of the three shares over the rows, and the counts behind them; None without any."""
    found, classes = found_by_row(evidence, sizes)
    places = [at for at, each in enumerate(found) if each is not None]
    if not places:
        return None
    names = size_names(sizes)
    totals = [over_classes(each, classes) for each in found if each is not None]
    plots = [_plot(key, [total.shares()[key] for total in totals]) for key in SHARES]
    counts = [
        None if each is None else {k: v.tolist() for k, v in each._asdict().items()}
        for each in found
    ]
    return {
        "rule": RULE,
        "shares": SHARES,
        "sizes": [name for i, name in enumerate(names) if totals[0].objects[i]],
        "numbers": [i for i in range(len(names)) if totals[0].objects[i]],
        "names": [rows[at].name for at in places],
        "plots": plots,
        "data": {
            "sizes": names,
            "classes": list(classes),
            "background": BACKGROUND,
            "seeds": [len(each) for each in evidence.records],
            "rows": counts,
        },
    }


def _plot(key: str, shares: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """One share over the rows, a line for each size."""
    across = curves.Axis(0.0, max(1.0, len(shares) - 1.0), False, [])
    up = curves.value_axis([[(0.0, 0.0), (1.0, 1.0)]], times=100)
    lines = []
    for size in range(len(shares[0])):
        points = [(float(at), row[size]) for at, row in enumerate(shares)]
        known = [(at, value) for at, value in points if value is not None]
        dots = [curves.path([point], across, up) for point in known]
        lines.append({"line": curves.path(known, across, up) if known else "", "dots": dots})
    ticks = [100 * across.place(float(at)) for at in range(len(shares))]
    return {
        "title": f"{SHARES[key]} (%)",
        "up": [(100 * place, text) for place, text in up.ticks],
        "across": ticks,
        "lines": lines,
    }
