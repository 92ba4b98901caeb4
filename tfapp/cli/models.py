"""`tfapp models`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tfapp.cli import options

if TYPE_CHECKING:
    from tfapp.models.report import Argument

# What a model is shown on unless --shape says otherwise: MNIST, or the notes' coefficients.
_SHAPES = {"coefficients [3]": (3,)}
_IMAGE = (28, 28, 1)


@click.group(
    epilog="""\b
Examples:
  tfapp models list
  tfapp models show cnn --shape 32,32,3 --outputs 100"""
)
def models() -> None:
    """List and show models."""


@models.command("list", epilog="Example:  tfapp models list --json")
@options.json_output
@options.common
def list_command(as_json: bool, quiet: bool) -> None:
    """List the registered models."""
    from tfapp.cli.console import print_json, print_table, say
    from tfapp.models.catalogue import list_models

    found = list_models()
    if as_json:
        print_json({"models": [vars(model) for model in found]})
        return
    rows = [(m.name, m.description, m.inputs, m.output_kind) for m in found]
    print_table(["name", "description", "takes", "gives"], rows)
    say("\nYour own: --model mypackage.models:Mine", quiet=quiet)


@models.command("show", epilog="Example:  tfapp models show mlp --set model.options.hidden=[64]")
@click.argument("name")
@click.option("--shape", metavar="H,W,C", help="Shape of one example.  [default: 28,28,1]")
@click.option("--outputs", type=click.IntRange(min=1), default=10, show_default=True)
@options.assignments
@options.json_output
@options.common
def show_command(
    name: str,
    shape: str | None,
    outputs: int,
    assignments: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a model and show its arguments, variables and size."""
    from tfapp.cli.console import print_json, print_pairs, print_table
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.config import load_config

    config = load_config(None, assignments, overrides={"model.name": name}).model
    example = _default_shape(name) if shape is None else _parse_shape(shape)
    load_tensorflow()
    from tfapp.models.report import describe_model

    report = describe_model(config.name, config.options, example, outputs)
    if as_json:
        print_json(report)
        return
    click.echo(f"{report.docstring}\n")
    print_pairs(
        [
            ("class", report.class_path),
            ("input", ["?", *example]),
            ("output", ["?", *report.output_shape[1:]]),
            ("parameters", report.parameters),
            ("trainable", report.trainable_parameters),
            *((f"option {a.name}", _option(a)) for a in report.arguments),
        ]
    )
    if not quiet:
        click.echo()
        rows = [
            (v.path, list(v.shape), v.dtype, "" if v.trainable else "no") for v in report.variables
        ]
        print_table(["variable", "shape", "type", "trained"], rows)


def _option(argument: Argument) -> str:
    text = argument.default or "required"
    return f"{text}: {argument.values}" if argument.values else text


def _default_shape(name: str) -> tuple[int, ...]:
    from tfapp.models.catalogue import list_models

    inputs = {model.name: model.inputs for model in list_models()}
    return _SHAPES.get(inputs.get(name, ""), _IMAGE)


def _parse_shape(text: str) -> tuple[int, ...]:
    sizes = text.replace("x", ",").split(",")
    if not all(size.strip().isdigit() and int(size) for size in sizes):
        raise click.BadParameter(
            f"{text!r}: expected positive numbers, e.g. 32,32,3 for images or 4 for a table.",
            param_hint="--shape",
        )
    return tuple(int(size) for size in sizes)
