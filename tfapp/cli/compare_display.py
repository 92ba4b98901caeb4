"""What `tfapp compare` shows: its tables, and what went wrong."""

from __future__ import annotations

import click

from tfapp.cli.compare_tables import notes_table, program_table
from tfapp.cli.console import print_table, say
from tfapp.cli.framework_tables import framework_tables
from tfapp.cli.graph_tables import graph_tables
from tfapp.cli.measuring import show_machine
from tfapp.compare.programs import PROGRAMS
from tfapp.compare.results import Comparison
from tfapp.report.page import Table, Verdict


def show_comparison(comparison: Comparison, *, quiet: bool) -> None:
    """Prints every table, why engines may differ, and what went wrong."""
    for result in comparison.programs:
        show_table(program_table(result), quiet=quiet)
    if comparison.notes:
        show_table(notes_table(comparison.notes), quiet=quiet)
    if comparison.graphs is not None:
        for table in graph_tables(comparison.graphs):
            show_table(table, quiet=quiet)
    if comparison.frameworks is not None:
        for table in framework_tables(comparison.frameworks):
            show_table(table, quiet=quiet)
    if comparison.machine is not None and not quiet:
        show_machine(comparison.machine, [])
    for line in complaints(comparison):
        say(line)
    for result in comparison.programs:
        if result.steps > (stated := PROGRAMS[result.program].steps) and not comparison.exact:
            say(
                f"note: the tolerances of {result.program} are stated up to step {stated}.",
                quiet=quiet,
            )


def show_table(table: Table, *, quiet: bool) -> None:
    """Prints a table under its caption, and its notes unless they are not wanted."""
    click.echo(table.caption)
    print_table(
        table.columns,
        [[cell.text if isinstance(cell, Verdict) else cell for cell in row] for row in table.rows],
    )
    if table.notes and not quiet:
        click.echo()
        for note in table.notes:
            click.echo(note)
    click.echo()


def complaints(comparison: Comparison) -> list[str]:
    """Returns a line for everything that is not as it must be, or could not be timed."""
    lines = []
    for result in comparison.programs:
        for row in result.rows:
            name = f"{result.program}: {row.engine}"
            if row.status == "outside":
                lines.append(f"{name} leaves its tolerance: {row.detail}.")
            elif row.status == "failed":
                lines.append(f"{name} failed: {row.detail}")
            if row.timing_failure:
                lines.append(f"{name} was not timed: {row.timing_failure}")
    differing = (note for note in comparison.notes if note.status == "differs")
    lines += [f"notes: {note.number} differs: {note.detail}" for note in differing]
    if comparison.graphs is not None:
        wrong = (row for row in comparison.graphs.control_flow if row.status == "differs")
        lines += [f"graphs: {row.construct} differs on {row.engine}: {row.values}" for row in wrong]
    if comparison.frameworks is not None:
        for written in comparison.frameworks.rows:
            name = f"frameworks: {written.program}"
            if written.status in ("differs", "failed"):
                lines.append(f"{name} {written.status}: {written.detail}")
            if written.timing_failure:
                lines.append(f"{name} was not timed: {written.timing_failure}")
    return lines + [f"{name} failed: {reason}" for name, reason in comparison.failures.items()]
