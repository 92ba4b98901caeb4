"""Goes on with a run from where it stopped, to the bits of a run that never did."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from tfapp.config import Config, to_toml
from tfapp.errors import CheckpointError, UsageError
from tfapp.models.predictor import Predictor
from tfapp.runs import Run, open_run, write_whole
from tfapp.settings import data_folder
from tfapp.training.assembly import Assembly, assemble
from tfapp.training.checkpoints import Checkpoints, TrainingState
from tfapp.training.controller import StopRequest
from tfapp.training.identity import differences, identity
from tfapp.training.program import build_program
from tfapp.training.restore import describe_data, read_info
from tfapp.training.samples import keep_samples
from tfapp.training.session import TrainedRun
from tfapp.training.strategy import find_place
from tfapp.training.together import name_run
from tfapp.training.train import alone, check_stop, describe_loop, work_on
from tfapp.training.writers import Writer
from tfapp.trials import has_search


def resume_training(
    run: Run | str | Path,
    *,
    epochs: int | None = None,
    config: Config | None = None,
    force: bool = False,
    data_dir: str | Path | None = None,
    writers: Sequence[Writer] = (),
    stop: StopRequest = lambda: None,
) -> TrainedRun:
    """Goes on with a run from its newest whole checkpoint.

    A damaged checkpoint is passed over for the one before it, with a note in the log.

    Args:
        run: A run that was interrupted or killed, or that is to become longer; or its path or name.
        epochs: A new length of the whole run, e.g. to train longer; a schedule that decays over
            the run follows it.
        config: A changed configuration; the run's own when omitted.
        force: Go on even if data, model, loop or anything else that decides the numbers has
            changed. The data is then scaled as before, and variables of a changed model that the
            checkpoint does not have start anew.
        data_dir: As in `train_model`.
        writers: As in `train_model`.
        stop: As in `train_model`.

    Raises:
        UsageError: The run is complete or still running, or something has changed since.
        CheckpointError: No checkpoint can be read, or they are another model's.
        Diverged: As in `train_model`.
        Interrupted: As in `train_model`.
    """
    run = open_run(run)
    if has_search(run) and not run.read_json("status.json"):
        raise UsageError(
            f"run {run.name} holds a search, whose best is not trained yet. To train it:"
            f" tfapp train --tune --resume {run.name}"
        )
    config = config or run.config()
    place = find_place(config.train.strategy)
    with alone(run) if place.is_chief else nullcontext():
        if epochs is not None:
            train = config.train.model_copy(update={"epochs": epochs})
            config = config.model_copy(update={"train": train})
        parts = assemble(config, data_dir=data_folder(data_dir), place=place)
        check_stop(stop)
        before = _newest_state(run)
        _check_unfinished(run, parts, before)
        parts = _with_known_data(run, parts, before, force)
        program = build_program(parts, first_step=before.step)
        parts, choice = program.parts, program.choice
        changes = differences(before.identity, identity(parts))
        if changes and not force:
            raise _changed(run, changes)
        name_run(place, run)  # nobody writes before all have read
        if place.is_chief:
            _keep_description(run, parts, before.step)
            if run.read_json("loop.json").get("loop") != choice.name:
                run.write_json("loop.json", describe_loop(choice))
        notes = [f"resumed by force: {change}" for change in changes]
        return work_on(run, program, writers, stop, resume=True, force=force, notes=notes)


def _newest_state(run: Run) -> TrainingState:
    """Returns the state of the newest checkpoint that can be read; that of step 0 without any."""
    checkpoints = Checkpoints(run.checkpoints)
    for step in reversed(checkpoints.steps()):
        try:
            return checkpoints.state(step)
        except CheckpointError:
            continue
    return TrainingState()


def _with_known_data(run: Run, parts: Assembly, before: TrainingState, force: bool) -> Assembly:
    """Returns the parts with the scaling that the weights were trained with."""
    if not (run.path / "data.json").exists():  # killed between claiming and describing
        return parts
    (known, preprocess), now = read_info(run), parts.splits.info
    predictor = parts.predictor
    known_parts = replace(
        parts, predictor=Predictor(preprocess, predictor.model, now, predictor.head)
    )
    if known.fingerprint == now.fingerprint:
        return known_parts
    if not force:  # a changed key, such as train.refit, may be why the data is another
        was = {**before.identity, "data": known.fingerprint}
        raise _changed(run, differences(was, identity(parts)))
    if (known.feature_shape, known.classes) != (now.feature_shape, now.classes):
        raise UsageError(
            f"run {run.name} was trained on examples of shape {list(known.feature_shape)} with"
            f" {len(known.classes)} classes; {now.source} has {list(now.feature_shape)} with"
            f" {len(now.classes)}: its weights do not fit. Train a new run."
        )
    return known_parts


def _keep_description(run: Run, parts: Assembly, step: int) -> None:
    """Writes what has changed; of files that were there a copy stays."""
    known = (run.path / "data.json").exists()
    if not known or read_info(run)[0].fingerprint != parts.splits.info.fingerprint:
        if known:
            _keep(run, "data.json", step)
        describe_data(run, parts)
        keep_samples(run, parts.splits.validation)
    _write_config(run, parts.config, step)


def _changed(run: Run, changes: Sequence[str]) -> UsageError:
    return UsageError(
        f"run {run.name} would not go on as it began: {'; '.join(changes)}. Put that back, train a"
        " new run, or go on all the same with --force."
    )


def _write_config(run: Run, config: Config, step: int) -> None:
    text = to_toml(config)
    file = run.path / "config.toml"
    if file.read_text(encoding="utf-8") != text:
        _keep(run, file.name, step)
        write_whole(file, text)


def _keep(run: Run, name: str, step: int) -> None:
    """Copies a file that is about to be written anew, e.g. to `config-until-step-460.toml`."""
    file = run.path / name
    write_whole(file.with_stem(f"{file.stem}-until-step-{step}"), file.read_text(encoding="utf-8"))


def _check_unfinished(run: Run, parts: Assembly, before: TrainingState) -> None:
    # Of the checkpoint that can be read: one that was damaged may be trained again.
    step = before.step or run.read_json("status.json").get("step", 0)
    stopping = parts.config.train.early_stopping
    if stopping and before.stale_epochs >= stopping.patience:
        raise UsageError(
            f"run {run.name} stopped early at step {step}, as its config asks. To go further:"
            f" tfapp train --resume {run.name}"
            f" --set train.early_stopping.patience={before.stale_epochs + stopping.patience}"
        )
    if step < parts.total_steps:
        return
    done = step // parts.steps_per_epoch
    raise UsageError(
        f"run {run.name} is complete: {done} epochs are done, {parts.config.train.epochs} were"
        f" asked for. To train it longer: tfapp train --resume {run.name} --epochs {2 * done}"
    )
