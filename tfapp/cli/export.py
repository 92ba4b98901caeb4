"""`tfapp export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfapp.cli import options
from tfapp.errors import ExitCode
from tfapp.serving.versions import LARGEST_VERSION

if TYPE_CHECKING:
    from tfapp.export.version import ExportedModel, Platform, Precision

_EPILOG = """\b
Examples:
  tfapp export runs/latest
  tfapp export latest --output saved_models/digits --version 7
  tfapp export latest --platform gpu --precision mixed_float16
  tfapp export latest --format keras --format tflite --format onnx
  tfapp export verify saved_models/digits"""


class WithVerify(click.Command):
    """A command whose first argument may be `verify`, which is a command of its own.

    Flags that `verify` knows may stand before it. After an option that takes a value `verify` is
    the name of a run, as `verify` has no such option.
    """

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Prepares whichever was asked for."""
        flags = {
            name
            for option in verify.params
            if isinstance(option, click.Option) and option.is_flag
            for name in option.opts
        }
        first = next((at for at, word in enumerate(args) if word not in flags), len(args))
        if args[first : first + 1] == ["verify"]:
            words = [*args[:first], *args[first + 1 :]]
            return verify.make_context(f"{info_name} verify", words, parent, **extra)
        meant = "verify" in args
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            if not meant or type(error) is not click.UsageError:  # no word too many
                raise
            advice = "To check an export, type verify first: tfapp export verify PATH"
            raise click.UsageError(f"{error.message}. {advice}", error.ctx) from error


@click.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
@options.json_output
@options.common
def verify(path: Path, as_json: bool, quiet: bool) -> int:
    """Check an export again: its files, and its answers to the real rows it carries.

    It can be done on any machine, without the run and the data. Exit code 3 tells that the answers
    are not those of the model that was exported.
    """
    from tfapp.cli.console import print_json, print_pairs
    from tfapp.cli.quiet import load_tensorflow

    load_tensorflow()
    from tfapp.export.verification import verify_export

    result = verify_export(path)
    if as_json:
        print_json(result)
    else:
        print_pairs(
            [
                ("SavedModel", result.path),
                ("files", f"{result.files} as they were written"),
                *(
                    (name, f"largest difference {difference:.3g} on {result.examples} examples")
                    for name, difference in result.differences.items()
                ),
                (
                    "result",
                    f"{'the same' if result.ok else 'NOT the same'}: up to"
                    f" {result.tolerance:g} is rounding",
                ),
            ]
        )
    return ExitCode.DONE if result.ok else ExitCode.DIFFERS


@click.command(cls=WithVerify, epilog=_EPILOG)
@click.argument("run")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the model's versions.  [default: saved_models/NAME]",
)
@click.option(
    "--version",
    type=click.IntRange(1, LARGEST_VERSION),
    help="Its number.  [default: the next]",
)
@click.option(
    "--platform",
    type=click.Choice(["cpu", "gpu", "tpu"]),
    default="cpu",
    show_default=True,
    help="gpu: with declared batch sizes. tpu: proves that XLA compiles each, and adds the tags"
    " serve,tpu.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "mixed_bfloat16", "mixed_float16"]),
    help="What layers compute in.  [default: as trained]",
)
@click.option(
    "--batch-size",
    "batch_sizes",
    type=click.IntRange(min=1),
    multiple=True,
    help="Rows that requests are filled up to. Repeatable.  [default: any; 1 and 32 for gpu, tpu]",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["keras", "tflite", "onnx"]),
    multiple=True,
    help="Another format beside the SavedModel. Repeatable.",
)
@options.checkpoint_step
@options.runs_folder
@options.json_output
@options.common
def export(
    run: str,
    output: Path | None,
    version: int | None,
    step: int | None,
    platform: Platform,
    precision: Precision | None,
    batch_sizes: tuple[int, ...],
    formats: tuple[str, ...],
    runs: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write a run's model as the next numbered SavedModel.

    The version is read back in another process and compared with the live model before it appears;
    a server that polls the folder never sees half of it. `tfapp export verify PATH` repeats the
    comparison anywhere.
    """
    from tfapp.cli.console import print_json, print_pairs, say
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.runs import find_run

    found = find_run(run, runs)
    load_tensorflow()
    from tfapp.export.saved_model import export_run
    from tfapp.export.version import ExportOptions

    wanted = ExportOptions(platform, precision, batch_sizes, tuple(dict.fromkeys(formats)))
    result = export_run(found, output, version=version, step=step, options=wanted)
    if as_json:
        print_json(result)
        return
    print_pairs(
        [
            ("SavedModel", result.path),
            ("checkpoint", f"step {result.step:,}"),
            ("for", _made_for(result)),
            ("signatures", ", ".join(result.signatures)),
            *((f"input {name}", spec) for name, spec in result.inputs.items()),
            *((f"output {name}", spec) for name, spec in result.outputs.items()),
            (
                "compared",
                f"largest difference {result.max_difference:.3g} on {result.examples} examples",
            ),
            *(
                (f"as {name}", f"largest difference {difference:.3g}")
                for name, difference in result.formats.items()
            ),
            ("warm-up", f"{result.warmup_requests} requests"),
            ("size", f"{result.size_bytes / 1e6:.2f} MB"),
        ]
    )
    say(f"next: tfapp predict {result.path} {found.path / 'samples.npz'}", quiet=quiet)


def _made_for(result: ExportedModel) -> str:
    told = f"{result.platform}, {result.precision}"
    if result.batch_sizes:
        told += f", batches of {', '.join(map(str, result.batch_sizes))}"
    if result.precision_difference:
        told += (
            f"; differs by {result.precision_difference:.3g} from the precision it was trained in"
        )
    return told
