"""The report of several runs, as a page: their curves over each other, their numbers in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfapp.overview import RunComparison, compare_runs
from tfapp.report.figures import curve_names
from tfapp.report.lines import Curve, Panel, draw_lines
from tfapp.report.page import Block, Columns, Page, Picture, Section, Table, Text
from tfapp.report.words import counted, duration, shortened, shown
from tfapp.runs import Run

_SPLITS = ("validation", "train")
_UNMEASURED = "What a dash stands for is measured by tfapp evaluate RUN, on the test split."
_NAME = 40  # characters of a run's name beside its curve


def runs_page(runs: Sequence[Run], footer: str) -> Page:
    """Returns the page of several runs.

    Args:
        runs: Two or more; they may still be going on.
        footer: The last line.
    """
    names = _labels(runs)
    comparison = compare_runs(list(runs))
    sections = [
        Section("Side by side", [_side_by_side(runs, names, comparison)]),
        Section("Learning curves", _curves(runs, names)),
        Section("Differences of configuration", [_differences(names, comparison)]),
    ]
    return Page(f"{len(runs)} runs", sections, [Text(", ".join(names))], footer)


def _labels(runs: Sequence[Run]) -> list[str]:
    """Returns what each run is called: by its name, by its path if two have the same."""
    names = [run.name for run in runs]
    told = [n if names.count(n) == 1 else str(r.path) for n, r in zip(names, runs, strict=True)]
    labels = [shortened(name, _NAME) for name in told]
    return labels if len(set(labels)) == len(labels) else told


def _side_by_side(runs: Sequence[Run], names: Sequence[str], comparison: RunComparison) -> Table:
    measured = [_evaluated(run) for run in runs]
    kinds = list(dict.fromkeys(kind for values in measured for kind in values))
    monitors = {run.monitor for run in comparison.runs if run.monitor}
    same = len(monitors) == 1
    columns = (
        *("run", "state", "epochs", f"best {monitors.pop()}" if same else "best"),
        *kinds,
        *("time", "parameters", "model", "data"),
    )
    rows = []
    for run, name, summary, values in zip(runs, names, comparison.runs, measured, strict=True):
        best = shown(summary.best)
        row = [name, summary.state, shown(summary.epoch)]
        row += [best if same or summary.best is None else f"{summary.monitor} {best}"]
        row += [shown(values.get(kind)) for kind in kinds]
        row += [duration(summary.seconds), shown(run.read_json("status.json").get("parameters"))]
        rows.append([*row, summary.model, summary.data])
    notes = [] if all(measured) else [_UNMEASURED]
    numeric = [*columns[2:4], *kinds, "time", "parameters"]
    return Table(columns, rows, counted(len(runs), "run"), numeric, notes)


def _evaluated(run: Run) -> Mapping[str, float]:
    """Returns what `tfapp evaluate` last found, by split and name, such as `test accuracy`."""
    found = run.read_json("evaluation.json")
    own = run.read_json("data.json").get("info", {}).get("source") == found.get("source")
    where = found.get("split") if own else f"{found.get('source')} {found.get('split')}"
    return {f"{where} {name}": value for name, value in found.get("metrics", {}).items()}


def _curves(runs: Sequence[Run], names: Sequence[str]) -> list[Block]:
    rows = {name: run.metrics() for name, run in zip(names, runs, strict=True)}
    values = dict.fromkeys(value for found in rows.values() for value in curve_names(found))
    blocks: list[Block] = []
    for value in values:
        drawn = [_picture(value, split, rows) for split in _SPLITS]
        blocks.append(Columns([picture for picture in drawn if picture is not None]))
    if unfinished := [name for name, found in rows.items() if not found]:
        what = "has" if len(unfinished) == 1 else "have"
        blocks.append(Text(f"{', '.join(unfinished)} {what} no finished epoch, so no curve."))
    return blocks


def _picture(
    value: str, split: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Picture | None:
    curves = []
    for name, found in rows.items():
        points = [(r["epoch"], r[value]) for r in found if r["split"] == split and value in r]
        if points:
            epochs, values = zip(*points, strict=True)
            curves.append(Curve(name, epochs, values))
    if not curves:
        return None
    spelled = value.replace("_", " ")
    panel = Panel(f"{spelled}, {split}", spelled, curves, xlabel="epoch")
    told = f"{spelled} of {counted(len(curves), 'run')} over epochs, {split}"
    return Picture(draw_lines(panel, names=list(rows)), told)


def _differences(names: Sequence[str], comparison: RunComparison) -> Table | Text:
    if not comparison.differences:
        return Text("Their configurations are the same.")
    rows = [(key, *map(shown, values)) for key, values in comparison.differences.items()]
    return Table(("key", *names), rows, "Keys that are not the same in all")
