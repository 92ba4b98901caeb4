"""`tfapp doctor`."""

from __future__ import annotations

import click

from tfapp.cli import options
from tfapp.errors import ExitCode


@click.command(epilog="Example:  tfapp doctor --json")
@options.json_output
@options.common
def doctor(as_json: bool, quiet: bool) -> int:
    """Show what this installation consists of and whether it works.

    Ends with exit code 1 when a check fails.
    """
    import dataclasses

    from tfapp.cli.console import print_json, print_pairs, print_table
    from tfapp.cli.quiet import load_tensorflow

    load_tensorflow()
    from tfapp.checkup import examine
    from tfapp.environment import read_environment
    from tfapp.training.train import device_names

    environment, checks = read_environment(device_names()), examine()
    works = all(check.works for check in checks)
    if as_json:
        print_json(
            {"works": works, "checks": [vars(c) for c in checks]} | dataclasses.asdict(environment)
        )
    else:
        if not quiet:
            print_pairs(
                [
                    ("python", environment.python),
                    ("system", environment.system),
                    ("cores", environment.cpus),
                    ("memory", f"{environment.memory_mb:,} MB"),
                    ("devices", ", ".join(environment.devices)),
                    *environment.packages.items(),
                ]
            )
            click.echo()
        rows = [(c.name, "works" if c.works else "FAILS", c.detail) for c in checks]
        print_table(["check", "", "detail"], rows)
    return ExitCode.DONE if works else ExitCode.FAILED
