"""The tables of the study of frameworks, for the terminal and for the report alike."""

from __future__ import annotations

from collections.abc import Mapping

from tfapp.cli.compare_tables import spread_text
from tfapp.compare.frameworks.results import FrameworkStudy, Row
from tfapp.compare.frameworks.roster import Step
from tfapp.report.page import Table, Verdict

_VERDICTS: Mapping[str, Verdict] = {
    "ok": Verdict("agrees", "ok"),
    "differs": Verdict("DIFFERS", "differs"),
    "failed": Verdict("FAILED", "differs"),
}


def framework_tables(study: FrameworkStudy) -> list[Table]:
    """Returns who does what, what it comes to, and which frameworks ended."""
    return [_steps(study), _measured(study), _packages(study), _ended(study)]


def _steps(study: FrameworkStudy) -> Table:
    rows = [
        [step, *(_who(row, row.steps[step], row.lines.steps[step]) for row in study.rows)]
        for step in study.rows[0].steps
    ]
    rows.append(["the rest", *(f"{row.lines.rest} lines" for row in study.rows)])
    rows.append(["together", *(f"{row.lines.own} lines" for row in study.rows)])
    return Table(
        ("step", *(row.program for row in study.rows)),
        rows,
        "frameworks: who does which step of training, and the lines of code it takes",
        notes=["A step without lines is a call inside another. Imports are not counted."],
    )


def _who(row: Row, step: Step, lines: int) -> str:
    how = {"user": "written", "call": step.how, "framework": f"inside {step.how}"}[step.doer]
    return f"{how}, {lines} lines" if lines else how


def _measured(study: FrameworkStudy) -> Table:
    tolerance = study.tolerance
    return Table(
        (
            *("program", "verdict", "losses", "weights", "lines", "us a step", "x by_hand"),
            *("rank", "import s", "build s"),
        ),
        [_cells(row) for row in study.rows],
        f"frameworks: the same network, {study.steps} steps, loss {study.first_loss:.8g} to"
        f" {study.last_loss:.8g}",
        numeric=("losses", "weights", "lines", "x by_hand", "rank", "import s", "build s"),
        notes=[f"Allowed {tolerance.loss:g} of a loss, {tolerance.weights:g} of a weight."],
    )


def _cells(row: Row) -> list[str | Verdict]:
    timing = row.timing
    times = ["", "", "", "", ""]
    if timing is not None:
        times = [
            spread_text(timing.step_us),
            "" if timing.speed is None else f"{timing.speed:.2f}",
            "-" if timing.rank is None else str(timing.rank),
            "" if timing.import_seconds is None else f"{timing.import_seconds:.1f}",
            f"{timing.compile_seconds:.1f}",
        ]
    missing = Verdict(row.detail, "missing") if row.status == "not installed" else row.status
    return [
        row.program,
        _VERDICTS.get(row.status, missing),
        "" if row.loss is None else f"{row.loss:.1e}",
        "" if row.weights is None else f"{row.weights:.1e}",
        str(row.lines.own),
        *times,
    ]


def _packages(study: FrameworkStudy) -> Table:
    packages = dict.fromkeys(package for row in study.rows for package in row.packages)
    return Table(
        ("package", "version", "licence"),
        [(package.name, package.version, package.licence) for package in packages],
        "frameworks: whether they are open, by the metadata of what is installed",
        notes=["Long ones also name the licences of what is bundled."],
    )


def _ended(study: FrameworkStudy) -> Table:
    unmeasured = "; ".join(
        f"{other.name}: {other.reason} ({other.source})" for other in study.unmeasured
    )
    return Table(
        ("framework", "year", "what happened", "source"),
        [(ended.name, str(ended.year), ended.fact, ended.source) for ended in study.ended],
        "frameworks: those of the notes' years that ended",
        numeric=("year",),
        notes=[f"Not measured here. {unmeasured}."],
    )
