"""`tfapp tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfapp.cli import options
from tfapp.cli.configuring import (
    KEYS,
    TUNE_KEYS,
    config_options,
    load_named,
    typed,
    typed_keys,
)

if TYPE_CHECKING:
    from tfapp.config import Config

_EPILOG = """\b
Examples:
  tfapp tune examples/digits_tune.toml
  tfapp tune examples/digits_tune.toml --algorithm hyperband --workers 2
  tfapp tune --resume latest --trials 40
  tfapp train --tune examples/digits_tune.toml"""


@click.command(epilog=_EPILOG)
@config_options
@click.option(
    "--algorithm",
    type=click.Choice(["random", "hyperband", "bayesian", "grid"]),
    help="Who proposes trials.  [default: random]",
)
@click.option(
    "--trials", type=click.IntRange(min=1), metavar="N", help="Most trials.  [default: 20]"
)
@click.option("--objective", metavar="VALUE", help="What is searched for, e.g. val_accuracy.")
@click.option("--budget", metavar="TIME", help="Time after which no trial goes on, e.g. 30m.")
@click.option("--executions", type=click.IntRange(min=1), help="Trainings of each trial.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run trials in N processes of this machine; one that dies is started again.",
)
@click.option(
    "--role",
    type=click.Choice(["chief", "worker"]),
    help="This process's part in a search on several machines, which KerasTuner's variables"
    " describe.  [default: by KERASTUNER_TUNER_ID]",
)
@click.option(
    "--resume",
    metavar="[RUN]",
    is_flag=False,
    flag_value="latest",
    help="Go on with a search; the latest if none is named.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be searched, write nothing.")
@options.runs_folder
@options.json_output
@options.common
@click.pass_context
def tune(
    context: click.Context,
    /,
    config: Path | None,
    assignments: tuple[str, ...],
    run_name: str | None,
    workers: int | None,
    role: str | None,
    resume: str | None,
    dry_run: bool,
    runs: Path | None,
    as_json: bool,
    quiet: bool,
    **named: Any,
) -> None:
    """Search hyperparameters.

    Each trial is a training in a run directory of its own. CONFIG is a TOML file whose table
    [tune.space] says what is varied. Later wins: defaults, file, TFAPP_TUNE_... variables, --set,
    named options.
    """
    from tfapp.cli.tune_display import show_search
    from tfapp.cli.tuning import find_role, lead_search, resumed_search, work_for_chief

    chief, role = find_role(role, workers)
    keys = {**KEYS, **TUNE_KEYS}
    given = _given(context, config, assignments, run_name, resume, dry_run, named)
    if role == "worker":
        if given:
            raise click.UsageError(
                f"{', '.join(given)} cannot go with --role worker: the chief says what is"
                " searched.",
                context,
            )
        assert chief is not None
        work_for_chief(chief, runs, quiet=quiet)
        return
    if resume is not None:
        _refuse_with_resume(context, config, run_name, dry_run)
        changes = typed_keys(context, named, keys)
        run, searched = resumed_search(resume, runs, assignments, changes)
        search = lead_search(
            searched, run=run.path, runs=runs, chief=chief, workers=workers, quiet=quiet
        )
    else:
        searched = load_named(context, config, assignments, named, keys)
        if dry_run:
            _show_plan(searched, as_json)
            return
        search = lead_search(
            searched, name=run_name, runs=runs, chief=chief, workers=workers, quiet=quiet
        )
    show_search(search, as_json=as_json, quiet=quiet)


def _given(
    context: click.Context,
    config: Path | None,
    assignments: tuple[str, ...],
    run_name: str | None,
    resume: str | None,
    dry_run: bool,
    named: dict[str, Any],
) -> list[str]:
    """Returns what was typed that says what is to be searched."""
    told = {"CONFIG": config, "--set": assignments, "--run": run_name, "--resume": resume}
    given = [name for name, value in told.items() if value]
    given += ["--dry-run"] * dry_run
    return given + [f"--{name.replace('_', '-')}" for name in named if typed(context, name)]


def _refuse_with_resume(
    context: click.Context, config: Path | None, run_name: str | None, dry_run: bool
) -> None:
    given = ["CONFIG"] * (config is not None) + ["--run"] * (run_name is not None)
    given += ["--dry-run"] * dry_run
    if given:
        raise click.UsageError(
            f"{', '.join(given)} cannot go with --resume: a search goes on with its own config and"
            " name. --trials and --budget make it longer.",
            context,
        )


def _show_plan(config: Config, as_json: bool) -> None:
    from tfapp.cli.console import print_json, print_pairs
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.tuning import check_space
    from tfapp.config import to_toml

    check_space(config)
    load_tensorflow()
    from tfapp.tuning.search import plan_search, whole_space

    config = whole_space(config)
    plan = plan_search(config)
    assert config.tune is not None
    if as_json:
        shown = config.model_dump(mode="json", exclude_none=True)
        print_json(
            {
                "objective": plan.objective,
                "direction": plan.direction,
                "trials": plan.trials,
                "parameters": plan.parameters,
                "config": shown,
            }
        )
        return
    click.echo(to_toml(config))
    print_pairs(
        [
            ("objective", f"{plan.objective}, {plan.direction}"),
            ("trials", plan.trials),
            ("parameters of the first", plan.parameters),
            *((key, value.describe()) for key, value in config.tune.space.items()),
        ]
    )
