"""Tables of what policies came to; an estimate is [value, low, high, count], as in ``comparison.json``."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scripts.command_line import markdown_table
from torchrl_gpu.program import table

Reports = Mapping[str, Mapping[str, Any]]
"""What `comparison.report` gives, by the name of the policy."""

COLUMNS = {
    "success": ("success", 3),
    "vessel_hit": ("vessel hit", 3),
    "buoy_hit": ("buoy hit", 3),
    "time_out": ("time-out", 3),
    "mean_return": ("return", 2),
    "time": ("time (s)", 1),
    "energy": ("energy (N s)", 0),
    "path": ("path", 3),
    "vessel_gap": ("gap (m)", 2),
    "buoy_gap": ("to buoys", 2),
    "rule_kept": ("rule kept", 3),
}
"""Metric, title of its column, digits."""


def totals(reports: Reports) -> str:
    """A row a policy: over the whole ladder, then the encounters."""
    return table(*total_rows(reports), left=1)


def total_rows(reports: Reports) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `totals`."""
    header = ["policy", *(title for title, _ in COLUMNS.values()), "us a decision", "ms alone", "encounters"]
    rows = []
    for label, report in reports.items():
        numbers = [cell(report["total"][key], digits) for key, (_, digits) in COLUMNS.items()]
        times = [f"{report['decision_us']:.0f}"]
        times.append("-" if report["reaction_ms"] is None else f"{report['reaction_ms']:.2f}")
        rates = [row["success"][0] for row in report["encounters"]]
        rows.append([label, *numbers, *times, f"{sum(rates) / len(rates):.3f}" if rates else "-"])
    return header, rows


def cell(estimate: Sequence[Any], digits: int) -> str:
    """An estimate and half the width of its interval."""
    value, low, high, _ = estimate
    return "-" if value is None else f"{value:.{digits}f} ± {(high - low) / 2:.{digits}f}"


def markdown(reports: Reports) -> str:
    """All tables: the whole ladder, success along each of its sides, and the encounters."""
    parts = ["Over the whole ladder:\n", markdown_table(*total_rows(reports), left=1)]
    for side in ("vessels", "buoys", "vortices"):
        parts += [f"Success by {side}:\n", by(side, reports)]
    if any(report["encounters"] for report in reports.values()):
        parts += ["Encounters: success, median of the smallest gap (m), who gave way:\n", encounters(reports)]
    return "\n".join(parts)


def by(side: str, reports: Reports) -> str:
    """Success of every policy along a side of the ladder, over all cells of the others."""
    cells = [row for report in reports.values() for row in report["cells"]]
    places = sorted({row[side] for row in cells})
    rows = []
    for label, report in reports.items():
        found = [joined(row["success"] for row in report["cells"] if row[side] == each) for each in places]
        rows.append([label, *(cell(estimate, 3) for estimate in found)])
    return markdown_table(["policy", *map(str, places)], rows, left=1)


def joined(shares: Iterable[Sequence[Any]]) -> Sequence[Any]:
    """One share of several, of different episodes."""
    from torchrl_gpu.evaluation.metrics import share  # it waits for torch

    pairs = [(round(value * count), count) for value, _, _, count in shares]
    return share(np.arange(sum(count for _, count in pairs)) < sum(hits for hits, _ in pairs))


def encounters(reports: Reports) -> str:
    """A row a case."""
    first = next(iter(reports.values()))["encounters"]
    rows = [
        [str(row["case"]), *(met(report["encounters"][k]) for report in reports.values())]
        for k, row in enumerate(first)
    ]
    courses = [", ".join(map(str, row["courses"])) for row in first]
    rows = [[case, course, *cells] for (case, *cells), course in zip(rows, courses, strict=True)]
    return markdown_table(["case", "courses of the others (°)", *reports], rows, left=2)


def met(row: Mapping[str, Any]) -> str:
    """Success, gap and who gave way, the own ship being 0."""
    who = ", ".join(map(str, row["gave_way"])) or "nobody"
    return f"{row['success'][0]:.2f}; {row['separation']:.1f}; {who}"
