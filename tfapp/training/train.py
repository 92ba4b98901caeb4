"""Trains a model into a new run directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfapp.config import Config, to_toml
from tfapp.environment import read_environment
from tfapp.errors import Interrupted, StorageError, TfappError, UsageError, storage_errors
from tfapp.locks import hold
from tfapp.runs import Run, claim_run
from tfapp.settings import data_folder, runs_folder
from tfapp.training.assembly import Assembly, assemble
from tfapp.training.calibration import LoopChoice, choose_loop
from tfapp.training.controller import StopRequest
from tfapp.training.program import Program, build_program, build_step
from tfapp.training.restore import describe_data
from tfapp.training.samples import keep_samples
from tfapp.training.session import Session, TrainedRun
from tfapp.training.strategy import Place, find_place
from tfapp.training.together import name_run, without_lost_workers
from tfapp.training.writers import LogFile, MetricsFile, MultiWriter, TensorBoard, Writer


@dataclass(frozen=True)
class Plan:
    """What a training would be, for `--dry-run`.

    Attributes:
        config: The resolved configuration as TOML.
        parameters: Trainable values of the model.
        feature_shape: Shape of one raw example.
        output_shape: Shape of one output of the model.
        sizes: Examples of each split; without validation where that is trained on.
        steps_per_epoch: Updates of one pass over the training split.
        total_steps: Updates of the whole run.
        runs: Folder that the run directory would be made in.
    """

    config: str
    parameters: int
    feature_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    sizes: dict[str, int]
    steps_per_epoch: int
    total_steps: int
    runs: Path


def plan_training(
    config: Config | None = None,
    *,
    runs: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Plan:
    """Builds everything that `train_model` would train, and makes no run.

    Raises:
        TfappError: What `train_model` would raise before its first step.
    """
    config = config or Config()
    place = find_place(config.train.strategy, connect=False)
    return plan_on(place, config, runs=runs, data_dir=data_dir)


def plan_on(
    place: Place,
    config: Config,
    *,
    runs: str | Path | None = None,
    data_dir: str | Path | None = None,
) -> Plan:
    """Does what `plan_training` does, for devices that need not be connected.

    Raises:
        TfappError: What `train_model` would raise before its first step.
    """
    parts = assemble(config, data_dir=data_folder(data_dir), place=place)
    step = build_step(parts)
    # One device and `auto`: nothing would be refused, the loops only timed.
    if place.replicas > 1 or config.train.loop != "auto":
        parts = parts.with_loop(choose_loop(parts, step).name)
    splits = parts.splits
    return Plan(
        config=to_toml(parts.config),
        parameters=parts.parameters,
        feature_shape=splits.info.feature_shape,
        output_shape=(parts.predictor.head.width,),
        sizes=parts.sizes,
        steps_per_epoch=parts.steps_per_epoch,
        total_steps=parts.total_steps,
        runs=runs_folder(runs),
    )


def train_model(
    config: Config | None = None,
    *,
    runs: str | Path | None = None,
    name: str | None = None,
    data_dir: str | Path | None = None,
    writers: Sequence[Writer] = (),
    stop: StopRequest = lambda: None,
) -> TrainedRun:
    """Trains a model into a new run directory.

    The global seeds of Python, NumPy and TensorFlow are set to the config's `seed`.

    Args:
        config: What to train on what; the defaults when omitted (an MLP on `digits`).
        runs: Folder of run directories; `settings` decides when omitted.
        name: Name of the run directory; made from the time and the config when omitted.
        data_dir: Where prepared data sets are kept; `settings` decides when omitted.
        writers: Are told everything besides the run's own files, e.g. a progress bar.
        stop: Asked a few times a second; an exit code ends the run after a clean save.

    Raises:
        Diverged: A step met NaN or Inf. The last good checkpoint is kept.
        Interrupted: `stop` gave a code. `resume_training` goes on from there.
        TfappError: The config, the data or the model cannot be used; no run was made.
    """
    parts = assemble(config or Config(), data_dir=data_folder(data_dir))
    program = build_program(parts)
    check_stop(stop)
    if not parts.place.is_chief:
        run = Run(Path(name_run(parts.place)))
        return work_on(run, program, writers, stop)
    run = claim_run(runs_folder(runs), program.parts.config, name=name)
    return train_program(program, run, writers=writers, stop=stop)


def train_program(
    program: Program,
    run: Run,
    *,
    writers: Sequence[Writer] = (),
    stop: StopRequest = lambda: None,
    until: int | None = None,
    parent: Run | None = None,
    graph: bool = True,
) -> TrainedRun:
    """Trains what has been built into a run directory that is there and empty.

    Args:
        program: What is trained.
        run: Has a config and no training yet.
        writers: As in `train_model`.
        stop: As in `train_model`.
        until: Epoch after which the run pauses; it can be gone on with.
        parent: A run of the same config, but for its length, that has paused: its newest checkpoint
            is where this one begins.
        graph: Whether the event files are to hold the graph of the model, which costs a trace.

    Raises:
        Diverged: As in `train_model`.
        Interrupted: As in `train_model`.
    """
    with alone(run):
        name_run(program.parts.place, run)
        describe_data(run, program.parts)
        keep_samples(run, program.parts.splits.validation)
        run.write_json("environment.json", asdict(read_environment(device_names())))
        run.write_json("loop.json", describe_loop(program.choice))
        if parent is not None:
            _take_over(parent, run)
        resume = parent is not None
        return work_on(run, program, writers, stop, resume=resume, until=until, graph=graph)


def _take_over(parent: Run, run: Run) -> None:
    """Copies what a run goes on from: the figures of its epochs, and its checkpoints."""
    with storage_errors(run.checkpoints):
        shutil.copytree(parent.checkpoints, run.checkpoints)
        shutil.copyfile(parent.metrics_file, run.metrics_file)


def device_names() -> list[str]:
    """Returns TensorFlow's devices, e.g. `CPU:0`."""
    devices = tf.config.list_physical_devices()
    return [device.name.removeprefix("/physical_device:") for device in devices]


def describe_loop(choice: LoopChoice) -> dict[str, Any]:
    """Returns the content of `loop.json`."""
    return {
        "loop": choice.name,
        "reason": choice.reason,
        "seconds_per_step": dict(choice.seconds_per_step),
    }


def work_on(
    run: Run,
    program: Program,
    writers: Sequence[Writer],
    stop: StopRequest,
    *,
    resume: bool = False,
    force: bool = False,
    notes: Sequence[str] = (),
    until: int | None = None,
    graph: bool = True,
) -> TrainedRun:
    """Trains a program into a run, with everything written that a run holds."""
    parts, choice = program.parts, program.choice
    chief = parts.place.is_chief
    log = LogFile(run.path / "log.txt") if chief else Writer()
    writer = MultiWriter([log, *(writers if chief else ())])
    try:
        session = Session(run, program, writer=writer, stop=stop, until=until)
        if resume:
            with without_lost_workers(parts.place):
                session.restore(force=force)
        if chief:
            writer.add(MetricsFile(run, session.first_step))
            board = TensorBoard(
                run.path / "tensorboard",
                to_toml(parts.config),
                first_step=session.first_step,
                # To draw a model may exchange values with processes that do not draw it.
                predictor=parts.predictor if graph and parts.place.workers == 1 else None,
            )
            writer.add(board)
        writer.note(_opening(run, parts, session.first_step))
        where = f"strategy {parts.place.name}: {parts.place.reason}"
        for note in (*notes, *parts.notes, where, f"loop {choice.name}: {choice.reason}"):
            writer.note(note)
        with without_lost_workers(parts.place):
            return session.train()
    except BaseException as error:
        with suppress(TfappError):  # on a full disk what happened matters more than its log
            log.note(f"{type(error).__name__}: {error}")
        raise
    finally:
        writer.close()


def _opening(run: Run, parts: Assembly, first_step: int) -> str:
    config = parts.config
    sizes = ", ".join(f"{size:,} {name}" for name, size in parts.sizes.items())
    return (
        f"{run.path}: {config.model.name} ({parts.parameters:,} parameters) on"
        f" {config.data.source} ({sizes}), steps {first_step + 1:,} to {parts.total_steps:,}"
    )


@contextmanager
def alone(run: Run) -> Iterator[None]:
    """Keeps every other process from training the same run.

    Raises:
        UsageError: Another process is training it.
    """
    with ExitStack() as stack:
        try:
            with storage_errors(run.lock):
                stack.enter_context(hold(run.lock))
        except StorageError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            pid = run.read_json("status.json").get("pid", "unknown")
            raise UsageError(
                f"run {run.name} is still being trained by process {pid}. Wait for it, or stop it"
                f" with: kill {pid}"
            ) from error
        yield


def check_stop(stop: StopRequest) -> None:
    """Ends here what was to be stopped while data was loading.

    Raises:
        Interrupted: `stop` gave a code.
    """
    if code := stop():
        raise Interrupted("stopped before training began; nothing was written.", code)
