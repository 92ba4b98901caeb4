"""The progress of a training: a bar with time left on a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.table import Column

from tfapp.training.progress import Progress
from tfapp.training.writers import Writer


def progress_writer(*, quiet: bool) -> Writer:
    """Returns the writer that suits where stderr goes.

    Args:
        quiet: Show nothing at all.
    """
    if quiet:
        return Writer()
    console = Console(stderr=True, highlight=False, markup=False)
    return ProgressBar(console) if console.is_terminal else PlainLines(console)


class ProgressBar(Writer):
    """One moving line: epoch, steps, time left, examples a second, loss and metrics."""

    def __init__(self, console: Console) -> None:
        whole = Column(no_wrap=True)
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}", table_column=whole),
            BarColumn(bar_width=16, table_column=whole),
            TimeRemainingColumn(compact=True, table_column=whole),
            TextColumn("left  {task.fields[speed]} ex/s", table_column=whole),
            # On a narrow terminal it is the values that are cut, from the right.
            TextColumn(
                "{task.fields[values]}",
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("train", total=None, epoch="", speed="-", values="")
        self._validation: Mapping[str, float] = {}

    def progress(self, progress: Progress) -> None:
        """Moves the bar; the first time it is drawn."""
        self._bar.start()
        epoch = min(progress.epoch + 1, progress.epochs)
        self._bar.update(
            self._task,
            total=progress.total_steps,
            completed=progress.step,
            epoch=f"{epoch}/{progress.epochs}",
            speed=f"{progress.examples_per_second:,.0f}",
            values=_join({**self._validation, **progress.train}),
        )

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Keeps the validation values in view while the next epoch runs."""
        if split == "validation":
            named = {f"val_{name}": value for name, value in values.items()}
            # With a metric to show, the validation loss has no place on one line.
            self._validation = {n: v for n, v in named.items() if n != "val_loss"} or named
            self.progress(progress)

    def note(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.console.print(text)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self._bar.stop()


class PlainLines(Writer):
    """One line an evaluation, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._console.soft_wrap = True

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Prints a line when an epoch is done; there may be no validation."""
        if split == "train":
            left = progress.seconds / max(progress.step, 1) * (progress.total_steps - progress.step)
            validation = {f"val_{name}": value for name, value in progress.validation.items()}
            self._console.print(
                f"epoch {progress.epoch}/{progress.epochs}  step {progress.step}"
                f"  {_join({**progress.train, **validation})}"
                f"  {progress.examples_per_second:,.0f} ex/s  {left:.0f} s left"
            )

    def note(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text)


def _join(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
