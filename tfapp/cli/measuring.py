"""What every measurement shows: how far it is, and what it ran on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tfapp.cli.console import print_pairs, say
from tfapp.timing.machine import Machine
from tfapp.timing.schedule import Moment, Watch

# With so much of a core busy otherwise, times are those of a machine that shares.
_BUSY = 0.5


@contextmanager
def progress(*, quiet: bool) -> Iterator[Watch]:
    """Gives a function that shows each moment: one moving line, or plain lines in a pipe."""
    console = Console(stderr=True, highlight=False, markup=False)
    if quiet:
        yield lambda moment: None
    elif console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("bench", total=1.0, what="", left="")
            yield lambda moment: bar.update(
                task, completed=moment.done, what=_what(moment), left=_left(moment)
            )
    else:
        yield _Lines().show


def show_machine(machine: Machine, more: list[tuple[str, object]]) -> None:
    """Prints what was measured on, further pairs, and a warning if it was busy."""
    print_pairs(
        [
            ("machine", f"{machine.cpu}, {machine.cores} cores, {machine.system}"),
            ("versions", ", ".join(f"{name} {v}" for name, v in machine.versions.items())),
            *more,
        ]
    )
    if machine.load is not None and machine.load > _BUSY:
        say(
            f"note: the machine was busy (load {machine.load:.1f} before the start). Times of"
            " threads that wait for each other suffer most; measure again when it is idle."
        )


def _bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[what]}"),
        console=console,
        transient=True,
    )


class _Lines:
    """Plain lines: one for each contender that starts or compiles, one for each round."""

    def __init__(self) -> None:
        self._round = ""

    def show(self, moment: Moment) -> None:
        """Prints the moment, unless it only goes on with a round."""
        this = f"{moment.workload} {moment.stage}" if moment.stage.startswith("round") else ""
        if not this or this != self._round:
            click.echo(f"{this or _what(moment)}  {_left(moment)}".rstrip(), err=True)
        self._round = this


def _what(moment: Moment) -> str:
    return f"{moment.workload} {moment.stage} {moment.contender}".lstrip()


def _left(moment: Moment) -> str:
    if moment.seconds_left is None:
        return ""
    minutes, seconds = divmod(round(moment.seconds_left), 60)
    return f"{minutes}:{seconds:02} left"
