"""`tfapp train --tune`: a search, then its best trial trained; and what follows a training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfapp.cli.console import say
from tfapp.errors import UsageError

if TYPE_CHECKING:
    from tfapp.config import Config
    from tfapp.evaluation import Evaluation
    from tfapp.export.version import ExportedModel
    from tfapp.runs import Run
    from tfapp.training.session import TrainedRun


def search_and_train(
    config: Config, runs: Path | None, name: str | None, *, refit: bool, quiet: bool
) -> TrainedRun:
    """Searches in a new run directory, and trains the best there.

    Args:
        config: What is searched.
        runs: Folder of run directories.
        name: Name of the new run.
        refit: Train the best on train and validation together.
        quiet: Show nothing.
    """
    from tfapp.cli.tuning import lead_search

    _check_alone()
    search = lead_search(config, name=name, runs=runs, quiet=quiet)
    return _train_best(search.run, refit=refit, quiet=quiet)


def finish_and_train(run: Run, config: Config, *, refit: bool, quiet: bool) -> TrainedRun:
    """Goes on with a search that is not complete, and trains the best.

    Args:
        run: The run that the search belongs to.
        config: What is searched, with more trials or time.
        refit: Train the best on train and validation together.
        quiet: Show nothing.
    """
    from tfapp.cli.tuning import lead_search
    from tfapp.config import load_config
    from tfapp.trials import config_file, read_search

    changed = config != load_config(config_file(run))
    if changed or read_search(run).state not in ("done", "out of time"):
        _check_alone()
        lead_search(config, run=run.path, runs=run.path.parent, quiet=quiet)
    return _train_best(run, refit=refit, quiet=quiet)


def evaluate_best(run: Path) -> Evaluation:
    """Measures a trained run on its test split, as `tfapp evaluate` does."""
    from tfapp.evaluation import evaluate_run
    from tfapp.report.figures import draw_confusion

    evaluation = evaluate_run(run)
    draw_confusion(evaluation)
    return evaluation


def export_trained(run: Path) -> ExportedModel:
    """Exports a trained run, as `tfapp export` does."""
    from tfapp.export.saved_model import export_run

    return export_run(run)


def _check_alone() -> None:
    from tfapp.settings import TUNER_VARIABLES, tuner_variables

    if any(tuner_variables()):
        raise UsageError(
            "tfapp train --tune searches in this process alone, but KerasTuner's variables make it"
            " one of several. Search with tfapp tune, then: tfapp train --tune --resume; or type:"
            f" unset {' '.join(TUNER_VARIABLES)}"
        )


def _train_best(run: Run, *, refit: bool, quiet: bool) -> TrainedRun:
    from tfapp.cli.progress import progress_writer
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.signals import stop_on_signals
    from tfapp.trials import read_search

    load_tensorflow()
    from tfapp.tuning.best import train_best

    if (best := read_search(run).best) is not None:
        say(f"training the best, trial {best.name}, into {run.path}", quiet=quiet)
    with stop_on_signals() as stop:
        return train_best(run, refit=refit, writers=[progress_writer(quiet=quiet)], stop=stop)
