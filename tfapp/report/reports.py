"""Reports of runs: one HTML file that a browser opens without network, script or other files.

    write_report("latest").path                      # runs/latest/report.html
    write_report(["first", "second"], "two.html")

TensorFlow is loaded for a run that has a checkpoint to measure, and for no other.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tfapp.errors import UsageError
from tfapp.report.page import check_page_path, write_page
from tfapp.report.plots import write_plot
from tfapp.report.run_page import is_trained, run_page, run_plots, why_unmeasured
from tfapp.report.runs_page import runs_page
from tfapp.runs import Run, open_run
from tfapp.settings import data_folder

FILE = "report.html"


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: The HTML file.
        runs: The run directories that it tells of.
        plots: The same figures as SVG files, in `plots/` of the run; none for several runs.
        missing: Why something could not be measured, in sentences.
    """

    path: Path
    runs: tuple[Path, ...]
    plots: tuple[Path, ...] = ()
    missing: tuple[str, ...] = ()


def write_report(
    runs: Run | str | Path | Sequence[Run | str | Path],
    path: str | Path | None = None,
    *,
    data_dir: str | Path | None = None,
) -> Report:
    """Writes what is known of a run, or several runs side by side, into one HTML file.

    Of one run the best checkpoint is measured on the test split of the run's own data; what is
    missing is said on the page. Of several runs nothing is measured, and TensorFlow is not loaded.

    Args:
        runs: A run, or several, as such, by path or by name.
        path: The file to write. When omitted, `report.html` in the run, or, for several, in the
            working folder. A report that is there is replaced, any other file is not.
        data_dir: Where prepared data sets are kept; `settings` decides when omitted.

    Raises:
        MissingError: There is no such run.
        UsageError: A run is given twice or is damaged, `path` is no HTML file, or it is there and
            no page of tfapp.
        StorageError: The disk refused.
    """
    opened = open_runs([runs] if isinstance(runs, Run | str | Path) else runs)
    target = report_path(opened, path)
    check_page_path(target)
    if len(opened) > 1:
        write_page(runs_page(opened, _footer()), target)
        return Report(target, tuple(run.path for run in opened))
    run = opened[0]
    measured = None
    if is_trained(run):
        from tfapp.report.measured import measure_run

        measured = measure_run(run, data_dir=data_folder(data_dir))
    plots = run_plots(run, measured)
    write_page(run_page(run, measured, plots, _footer()), target)
    files = tuple(write_plot(plot, run.plots) for plot in plots.values())
    missing = measured.missing if measured else why_unmeasured(run)
    return Report(target, (run.path,), files, missing)


def open_runs(runs: Sequence[Run | str | Path]) -> list[Run]:
    """Returns runs that are given as such, by path, or by name in the default folder.

    Raises:
        MissingError: There is none of that name.
        UsageError: There are none, or one is given twice.
    """
    opened = [open_run(run) for run in runs]
    if not opened:
        raise UsageError("a report needs a run; list them with tfapp runs list.")
    places = [run.path.resolve() for run in opened]
    for run, place in zip(opened, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"run {run.name} is given twice; give different runs, or it alone.")
    return opened


def report_path(runs: Sequence[Run], path: str | Path | None = None) -> Path:
    """Returns where the report of runs is written: as given, else in the run, or here."""
    if path is not None:
        return Path(path)
    return runs[0].path / FILE if len(runs) == 1 else Path(FILE)


def _footer() -> str:
    now = datetime.datetime.now().astimezone()
    return f"tfapp report · tfapp {version('tfapp')} · {now:%Y-%m-%d %H:%M %Z}"
