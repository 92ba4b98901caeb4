"""`tfapp train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tfapp.cli import options

if TYPE_CHECKING:
    from tfapp.config import Config
    from tfapp.training.session import TrainedRun
    from tfapp.training.train import Plan

# Named option to config key.
_KEYS = {
    "data": "data.source",
    "model": "model.name",
    "epochs": "train.epochs",
    "batch_size": "data.batch_size",
    "learning_rate": "train.optimizer.learning_rate",
    "optimizer": "train.optimizer.name",
    "loss": "train.loss",
    "strategy": "train.strategy",
    "seed": "seed",
    "name": "name",
}
_EPILOG = """\b
Examples:
  tfapp train --data digits --model mlp
  tfapp train examples/digits_cnn.toml --set train.epochs=5
  tfapp train --data photos/ --model cnn --set data.image_size=[64,64]
  tfapp train --resume"""


@click.command(epilog=_EPILOG)
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--data", metavar="SOURCE", help="Embedded name, TFDS name, or a path.")
@click.option("--model", metavar="NAME", help="Registered name, or mypackage.models:Mine.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training split.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Examples of one step.")
@click.option("--learning-rate", type=float, help="The rate, or the peak of the schedule.")
@click.option("--optimizer", metavar="NAME", help="Keras optimizer.")
@click.option("--loss", metavar="NAME", help="Keras loss.")
@click.option("--strategy", metavar="NAME", help="one, mirrored, multiworker, tpu, or auto.")
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, dropout and order.")
@click.option("--name", help="Label of the run, part of its directory's name.")
@options.assignments
@click.option("--run", "run_name", metavar="NAME", help="Exact name of the new run directory.")
@click.option(
    "--resume",
    metavar="[RUN]",
    is_flag=False,
    flag_value="latest",
    help="Continue a run where it stopped; the latest if none is named.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=2),
    metavar="N",
    help="Train with N processes of this machine; one that dies is started again.",
)
@click.option("--force", is_flag=True, help="Resume even if data, model or loop have changed.")
@click.option("--dry-run", is_flag=True, help="Show what would be trained, write nothing.")
@options.runs_folder
@options.json_output
@options.common
@click.pass_context
def train(
    context: click.Context,
    /,
    config: Path | None,
    assignments: tuple[str, ...],
    run_name: str | None,
    resume: str | None,
    workers: int | None,
    force: bool,
    dry_run: bool,
    runs: Path | None,
    as_json: bool,
    quiet: bool,
    **named: Any,
) -> None:
    """Train a model into a new run directory.

    CONFIG is a TOML file; without one the defaults train an MLP on digits. Later wins: defaults,
    file, TFAPP_TRAIN_... variables, --set, named options.
    """
    flags = ["--json"] * as_json + ["--quiet"] * quiet + ["--debug"] * _typed(context, "debug")
    if resume is not None:
        _refuse_with_resume(context, config, run_name, dry_run)
        changes = {key: named[option] for option, key in _KEYS.items() if _typed(context, option)}
        if workers:
            context.exit(_resume_workers(workers, resume, runs, assignments, changes, force, flags))
        result = _resume(resume, runs, assignments, changes, force, quiet)
    else:
        if force:
            raise click.UsageError("--force goes with --resume: a new run has no past.", context)
        checked = _load(context, config, assignments, named)
        if dry_run:
            _show_plan(_plan(checked, runs, run_name, workers), as_json)
            return
        if workers:
            from tfapp.cli.workers import train_with_workers

            context.exit(train_with_workers(workers, checked, runs, run_name, flags))
        result = _train(checked, runs, run_name, quiet)
    if result.worker == 0:
        _show(result, as_json, quiet)


def _load(
    context: click.Context,
    path: Path | None,
    assignments: tuple[str, ...],
    named: dict[str, Any],
) -> Config:
    from tfapp.config import load_config

    given: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for option, key in _KEYS.items():
        if named[option] is not None:
            source = context.get_parameter_source(option)
            given[source is ParameterSource.ENVIRONMENT][key] = named[option]
    return load_config(path, assignments, environment=given[True], overrides=given[False])


def _refuse_with_resume(
    context: click.Context,
    config: Path | None,
    run_name: str | None,
    dry_run: bool,
) -> None:
    given = ["CONFIG"] * (config is not None) + ["--name"] * _typed(context, "name")
    given += ["--run"] * (run_name is not None) + ["--dry-run"] * dry_run
    if given:
        raise click.UsageError(
            f"{', '.join(given)} cannot go with --resume: a run continues with its own config and"
            " name. --epochs trains it longer; --set changes other keys.",
            context,
        )


def _typed(context: click.Context, option: str) -> bool:
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


def _train(config: Config, runs: Path | None, name: str | None, quiet: bool) -> TrainedRun:
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.signals import stop_on_signals
    from tfapp.data.sources import find_source
    from tfapp.runs import check_free
    from tfapp.settings import data_folder, runs_folder

    find_source(config.data.source, data_folder())
    check_free(runs_folder(runs), name)
    load_tensorflow()
    from tfapp.cli.progress import progress_writer
    from tfapp.training.train import train_model

    with stop_on_signals() as stop, _as_worker():
        return train_model(
            config, runs=runs, name=name, writers=[progress_writer(quiet=quiet)], stop=stop
        )


def _resume(
    name: str,
    runs: Path | None,
    assignments: tuple[str, ...],
    changes: dict[str, Any],
    force: bool,
    quiet: bool,
) -> TrainedRun:
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.signals import stop_on_signals
    from tfapp.runs import find_run

    run = find_run(name, runs)
    config = run.config(assignments, changes)
    load_tensorflow()
    from tfapp.cli.progress import progress_writer
    from tfapp.training.resume import resume_training

    with stop_on_signals() as stop, _as_worker():
        return resume_training(
            run, config=config, force=force, writers=[progress_writer(quiet=quiet)], stop=stop
        )


def _resume_workers(
    count: int,
    name: str,
    runs: Path | None,
    assignments: tuple[str, ...],
    changes: dict[str, Any],
    force: bool,
    flags: list[str],
) -> int:
    from tfapp.cli.workers import resume_with_workers, words_of
    from tfapp.runs import find_run

    run = find_run(name, runs)
    words = words_of(changes, assignments, force)
    return resume_with_workers(count, run, run.config(assignments, changes), words, flags)


@contextmanager
def _as_worker() -> Iterator[None]:
    """Lets a process that `--workers` has started live and end with the others."""
    from tfapp.settings import is_supervised
    from tfapp.training.cluster import WorkerLost

    if not is_supervised():
        yield
        return
    from tfapp.cli.workers import end_with_supervisor
    from tfapp.training.workers import LOST

    end_with_supervisor()
    try:
        yield
    except WorkerLost:  # the supervisor knows who it was, and goes on
        raise click.exceptions.Exit(LOST) from None


def _plan(config: Config, runs: Path | None, name: str | None, workers: int | None) -> Plan:
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.workers import check_workers
    from tfapp.data.sources import find_source
    from tfapp.runs import check_free
    from tfapp.settings import data_folder, runs_folder
    from tfapp.training.cluster import Cluster

    if workers:
        check_workers(workers, config)
    find_source(config.data.source, data_folder())
    check_free(runs_folder(runs), name)
    load_tensorflow()
    from tfapp.training.strategy import find_place, unconnected
    from tfapp.training.train import plan_on

    if workers:
        cluster = Cluster(tuple(f"worker {index}" for index in range(workers)), 0)
        place = unconnected(cluster, f"--workers {workers}")
    else:
        place = find_place(config.train.strategy, connect=False)
    return plan_on(place, config, runs=runs)


def _show_plan(plan: Plan, as_json: bool) -> None:
    from tfapp.cli.console import print_json, print_pairs

    if as_json:
        print_json(plan)
        return
    click.echo(plan.config)
    print_pairs(
        [
            ("parameters", plan.parameters),
            ("input", list(plan.feature_shape)),
            ("output", list(plan.output_shape)),
            ("examples", ", ".join(f"{size:,} {name}" for name, size in plan.sizes.items())),
            ("steps", f"{plan.total_steps:,} ({plan.steps_per_epoch:,} an epoch)"),
            ("would write", f"{plan.runs}/"),
        ]
    )


def _show(result: TrainedRun, as_json: bool, quiet: bool) -> None:
    from tfapp.cli.console import print_json, print_pairs, say
    from tfapp.report.figures import draw_curves
    from tfapp.runs import Run

    figure = draw_curves(Run(result.path))
    if as_json:
        print_json(result)
        return
    print_pairs(
        [
            ("run", result.path),
            ("state", f"{result.state} after {result.epoch} epochs, {result.step:,} steps"),
            ("time", f"{result.seconds:.1f} s"),
            *((f"validation {name}", value) for name, value in result.validation.items()),
            (
                f"best {result.monitor}",
                f"{result.best:.6g} at step {result.best_step}"
                if result.best is not None
                else None,
            ),
            ("curves", figure),
        ]
    )
    say(f"next: tfapp evaluate {result.path}", quiet=quiet)
