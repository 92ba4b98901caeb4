"""Trains the best trial of a search again, into the run that the search belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfapp.config import Config, to_toml
from tfapp.errors import UsageError
from tfapp.runs import Run, open_run, write_whole
from tfapp.settings import data_folder
from tfapp.training.assembly import assemble
from tfapp.training.program import build_program
from tfapp.training.resume import resume_training
from tfapp.training.session import TrainedRun
from tfapp.training.train import check_stop, train_program
from tfapp.training.writers import Writer
from tfapp.trials import Trial, read_search
from tfapp.tuning.execution import Stop, config_of
from tfapp.tuning.leader import Assignment
from tfapp.tuning.search import searched_config


def train_best(
    run: Run | str | Path,
    *,
    refit: bool = False,
    data_dir: str | Path | None = None,
    writers: Sequence[Writer] = (),
    stop: Stop = lambda: None,
) -> TrainedRun:
    """Trains the best configuration of a search from the beginning, or goes on with that.

    The run's `config.toml` becomes that of the best trial, with the run's own seed and loop; the
    config that was searched stays in its `tune` folder.

    Args:
        run: The run that the search belongs to, or its path or name.
        refit: Train on the validation split too, for as many epochs as the trial needed to reach
            its score.
        data_dir: Where prepared data sets are kept; `settings` decides when omitted.
        writers: Are told everything besides the run's own files, e.g. a progress bar.
        stop: Asked a few times a second; an exit code ends the run after a clean save.

    Raises:
        MissingError: The run has no search.
        UsageError: None of its trials has a score, or the best has been trained already.
        Diverged: As in `tfapp.train_model`.
        Interrupted: As in `tfapp.train_model`.
    """
    opened = open_run(run)
    if opened.read_json("status.json"):
        return resume_training(opened, data_dir=data_dir, writers=writers, stop=stop)
    parts = assemble(best_config(opened, refit=refit), data_dir=data_folder(data_dir))
    program = build_program(parts)
    check_stop(stop)
    write_whole(opened.path / "config.toml", to_toml(program.parts.config))
    return train_program(program, opened, writers=writers, stop=stop)


def best_config(run: Run, *, refit: bool = False) -> Config:
    """Returns the config of a search's best trial, with the run's own name, seed and loop.

    Args:
        run: The run that the search belongs to.
        refit: As in `train_best`.

    Raises:
        MissingError: The run has no search.
        UsageError: None of its trials has a score.
    """
    search = read_search(run)
    if (best := search.best) is None:
        raise UsageError(
            f"the search of run {run.name} has no trial with a score yet. Go on with it:"
            f" tfapp tune --resume {run.path}"
        )
    searched = searched_config(run)
    plain = searched.with_values(best.values)
    made = config_of(searched, search, Assignment(best.number, 1, best.values, 0, None, None), 0)
    changes: dict[str, object] = {"loop": plain.train.loop}
    if refit:
        changes |= _refitted(best)
    train = made.train.model_copy(update=changes)
    return made.model_copy(update={"name": searched.name, "seed": plain.seed, "train": train})


def _refitted(best: Trial) -> dict[str, object]:
    """What changes when nothing is held out that could end the training or choose an epoch."""
    return {
        "refit": True,
        "epochs": best.best_epoch or best.epochs,
        "early_stopping": None,
        "monitor": "auto",
        "monitor_mode": "auto",
    }
