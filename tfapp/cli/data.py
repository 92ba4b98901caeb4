"""`tfapp data`."""

from __future__ import annotations

import click

from tfapp.cli import options


@click.group(
    epilog="""\b
Examples:
  tfapp data list
  tfapp data show iris
  tfapp data prepare mnist"""
)
def data() -> None:
    """List, show and prepare data sets."""


@data.command("list", epilog="Example:  tfapp data list --json")
@options.json_output
@options.common
def list_command(as_json: bool, quiet: bool) -> None:
    """List the data sets that can be used at once, and what TFDS has prepared here."""
    from tfapp.cli.console import print_json, print_table, say
    from tfapp.data.inspection import list_sources
    from tfapp.settings import data_folder

    folder = data_folder()
    found = list_sources(folder)
    if as_json:
        print_json({"data_dir": str(folder), "sources": [vars(source) for source in found]})
        return
    print_table(["name", "kind", "description"], [(s.name, s.kind, s.description) for s in found])
    say(
        f"\nBesides: every name of TFDS, e.g. mnist (kept in {folder}), and paths: an image folder,"
        " .npz, .csv, a folder of IDX files.",
        quiet=quiet,
    )


@data.command("show", epilog="Example:  tfapp data show flowers.csv --set data.label=species")
@click.argument("source")
@options.assignments
@options.json_output
@options.common
def show_command(source: str, assignments: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Load a data set and show its splits, classes and columns."""
    from tfapp.cli.console import print_json, print_pairs, print_table
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.config import load_config
    from tfapp.data.sources import find_source
    from tfapp.settings import data_folder

    config = load_config(None, assignments, overrides={"data.source": source}).data
    find_source(source, data_folder())
    load_tensorflow()
    from tfapp.data.inspection import describe_source

    report = describe_source(config, data_folder())
    if as_json:
        print_json(report)
        return
    print_pairs(
        [
            ("source", report.name),
            ("task", report.task),
            ("features", f"{list(report.feature_shape)} {report.feature_dtype}"),
            (
                "range",
                f"{report.minimum:.6g} to {report.maximum:.6g}"
                if report.minimum is not None
                else None,
            ),
            ("mean", report.mean),
            ("fingerprint", report.fingerprint[:16]),
        ]
    )
    click.echo()
    header = ["split", "examples", *report.classes]
    print_table(
        header,
        [(n, s.size, *(s.class_counts or {}).values()) for n, s in report.splits.items()],
    )
    if report.columns and not quiet:
        click.echo()
        columns = ["column", "texts", "minimum", "maximum", "mean"]
        print_table(
            columns, [(c.name, c.texts, c.minimum, c.maximum, c.mean) for c in report.columns]
        )


@data.command("prepare", epilog="Example:  tfapp data prepare mnist")
@click.argument("name")
@options.json_output
@options.common
def prepare_command(name: str, as_json: bool, quiet: bool) -> None:
    """Download a data set of TFDS, so that training finds it without network."""
    from tfapp.cli.console import print_json, print_pairs
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.data.sources import find_source
    from tfapp.settings import data_folder

    folder = data_folder()
    find_source(name, folder)
    load_tensorflow()
    from tfapp.data.inspection import prepare_source

    prepared = prepare_source(name, folder, progress=not quiet and not as_json)
    if as_json:
        print_json(prepared)
        return
    print_pairs([("prepared", prepared.path), ("size", f"{prepared.size_bytes / 1e6:.2f} MB")])
