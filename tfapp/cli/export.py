"""`tfapp export`."""

from __future__ import annotations

from pathlib import Path

import click

from tfapp.cli import options

_EPILOG = """\b
Examples:
  tfapp export runs/latest
  tfapp export latest --output saved_models/digits --version 7"""


@click.command(epilog=_EPILOG)
@click.argument("run")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the model's versions.  [default: saved_models/NAME]",
)
@click.option("--version", type=click.IntRange(min=1), help="Its number.  [default: the next]")
@options.checkpoint_step
@options.runs_folder
@options.json_output
@options.common
def export(
    run: str,
    output: Path | None,
    version: int | None,
    step: int | None,
    runs: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a run's model as the next numbered SavedModel.

    The version is read back and compared with the live model before it appears; a server that
    polls the folder never sees half of it.
    """
    from tfapp.cli.console import print_json, print_pairs, say
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.runs import find_run

    found = find_run(run, runs)
    load_tensorflow()
    from tfapp.export.saved_model import export_run

    result = export_run(found, output, version=version, step=step)
    if as_json:
        print_json(result)
        return
    print_pairs(
        [
            ("SavedModel", result.path),
            ("checkpoint", f"step {result.step:,}"),
            *((f"input {name}", spec) for name, spec in result.inputs.items()),
            *((f"output {name}", spec) for name, spec in result.outputs.items()),
            (
                "compared",
                f"largest difference {result.max_difference:.3g} on {result.examples} examples",
            ),
            ("size", f"{result.size_bytes / 1e6:.2f} MB"),
        ]
    )
    say(f"next: tfapp predict {result.path} {found.path / 'samples.npz'}", quiet=quiet)
