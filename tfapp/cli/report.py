"""`tfapp report`."""

from __future__ import annotations

from pathlib import Path

import click

from tfapp.cli import options

_EPILOG = """\b
Examples:
  tfapp report latest
  tfapp report first second third --output three.html"""


@click.command(epilog=_EPILOG)
@click.argument("names", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--output",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="The file to write.  [default: report.html in the run; of several runs, in this folder]",
)
@options.runs_folder
@options.json_output
@options.common
def report(
    names: tuple[str, ...], output: Path | None, runs: Path | None, as_json: bool, quiet: bool
) -> None:
    """Write a page about a run, or several side by side.

    It is one HTML file that opens without network. Of one RUN it measures the best checkpoint on
    the test split, draws curves, confusion matrix, calibration, the worst mistakes and examples,
    and keeps the figures as SVG files in plots/ of the run. Several RUNs are laid over each other.

    A report that is there is replaced; a file that is no page of tfapp is not.
    """
    from tfapp.cli.console import check_writable, print_json, print_pairs, say
    from tfapp.report.page import check_page_path
    from tfapp.report.reports import open_runs, report_path, write_report
    from tfapp.report.run_page import is_trained
    from tfapp.runs import find_run

    found = open_runs([find_run(name, runs) for name in names])
    path = report_path(found, output)
    check_page_path(path)
    check_writable(path)
    if len(found) == 1 and is_trained(found[0]):
        from tfapp.cli.quiet import load_tensorflow

        load_tensorflow()
    result = write_report(found, path)
    if as_json:
        print_json(result)
        return
    print_pairs([("report", result.path), *(("plot", plot) for plot in result.plots)])
    for reason in result.missing:
        say(f"note: {reason}", quiet=quiet)
