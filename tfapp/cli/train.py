"""`tfapp train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfapp.cli import options
from tfapp.cli.configuring import config_options, load_named, typed, typed_keys

if TYPE_CHECKING:
    from tfapp.config import Config
    from tfapp.training.session import TrainedRun
    from tfapp.training.train import Plan

_EPILOG = """\b
Examples:
  tfapp train --data digits --model mlp
  tfapp train examples/digits_cnn.toml --set train.epochs=5
  tfapp train --data photos/ --model cnn --set data.image_size=[64,64]
  tfapp train --resume"""


@click.command(epilog=_EPILOG)
@config_options
@click.option("--tune", is_flag=True, help="Search first, as [tune] says, then train the best.")
@click.option(
    "--refit", is_flag=True, help="With --tune: train the best on train and validation together."
)
@click.option("--export", is_flag=True, help="Export the model in the end.")
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
    tune: bool,
    refit: bool,
    export: bool,
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
    flags = ["--json"] * as_json + ["--quiet"] * quiet + ["--debug"] * typed(context, "debug")
    _check_tune(context, tune, refit, workers)
    if resume is not None:
        _refuse_with_resume(context, config, run_name, dry_run)
        changes = typed_keys(context, named)
        if workers:
            context.exit(_resume_workers(workers, resume, runs, assignments, changes, force, flags))
        if tune:
            result = _resume_search(resume, runs, assignments, changes, refit, quiet)
        else:
            result = _resume(resume, runs, assignments, changes, force, quiet)
    else:
        if force:
            raise click.UsageError("--force goes with --resume: a new run has no past.", context)
        checked = load_named(context, config, assignments, named)
        if dry_run:
            _show_plan(_plan(checked, runs, run_name, workers), as_json)
            return
        if workers:
            from tfapp.cli.workers import train_with_workers

            context.exit(train_with_workers(workers, checked, runs, run_name, flags))
        if tune:
            from tfapp.cli.train_best import search_and_train

            result = search_and_train(checked, runs, run_name, refit=refit, quiet=quiet)
        else:
            result = _train(checked, runs, run_name, quiet)
    if result.worker == 0:
        _show(result, evaluate=tune, export=export, as_json=as_json, quiet=quiet)


def _check_tune(context: click.Context, tune: bool, refit: bool, workers: int | None) -> None:
    if refit and not tune:
        raise click.UsageError(
            "--refit goes with --tune; to train once on train and validation together, type"
            " --set train.refit=true",
            context,
        )
    if tune and workers:
        raise click.UsageError(
            "--workers trains one model with several processes, which --tune does not. Search with"
            f" them first: tfapp tune --workers {workers}, then: tfapp train --tune --resume",
            context,
        )


def _resume_search(
    name: str,
    runs: Path | None,
    assignments: tuple[str, ...],
    changes: dict[str, Any],
    refit: bool,
    quiet: bool,
) -> TrainedRun:
    from tfapp.cli.train_best import finish_and_train
    from tfapp.cli.tuning import resumed_search

    run, config = resumed_search(name, runs, assignments, changes)
    return finish_and_train(run, config, refit=refit, quiet=quiet)


def _refuse_with_resume(
    context: click.Context,
    config: Path | None,
    run_name: str | None,
    dry_run: bool,
) -> None:
    given = ["CONFIG"] * (config is not None) + ["--name"] * typed(context, "name")
    given += ["--run"] * (run_name is not None) + ["--dry-run"] * dry_run
    if given:
        raise click.UsageError(
            f"{', '.join(given)} cannot go with --resume: a run continues with its own config and"
            " name. --epochs trains it longer; --set changes other keys.",
            context,
        )


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


def _show(result: TrainedRun, *, evaluate: bool, export: bool, as_json: bool, quiet: bool) -> None:
    from dataclasses import asdict

    from tfapp.cli.console import print_json, print_pairs, say
    from tfapp.cli.train_best import evaluate_best, export_trained
    from tfapp.report.figures import draw_curves
    from tfapp.runs import Run

    figure = draw_curves(Run(result.path))
    evaluation = evaluate_best(result.path) if evaluate else None
    exported = export_trained(result.path) if export else None
    if as_json:
        more = {"evaluation": evaluation, "exported": exported}
        print_json(asdict(result) | {key: value for key, value in more.items() if value})
        return
    split = "validation" if result.validation else "train"
    best = None if result.best is None else f"{result.best:.6g} at step {result.best_step}"
    tested = {} if evaluation is None else evaluation.metrics
    print_pairs(
        [
            ("run", result.path),
            ("state", f"{result.state} after {result.epoch} epochs, {result.step:,} steps"),
            ("time", f"{result.seconds:.1f} s"),
            *((f"{split} {name}", value) for name, value in getattr(result, split).items()),
            *([(f"best {result.monitor}", best)] if best else []),
            *((f"test {name}", value) for name, value in tested.items()),
            ("curves", figure),
            *([("SavedModel", exported.path)] if exported else []),
        ]
    )
    after = "report" if evaluate else "evaluate"
    say(f"next: tfapp {after} {result.path}", quiet=quiet)
