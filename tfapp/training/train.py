"""Trains a model into a new run directory."""

from __future__ import annotations

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
from tfapp.training.replicas import ReplicatedStep
from tfapp.training.restore import describe_data
from tfapp.training.samples import keep_samples
from tfapp.training.session import Session, TrainedRun
from tfapp.training.strategy import Place, find_place
from tfapp.training.tape import TapeStep
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
        sizes: Examples of each split.
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
        sizes={
            "train": splits.train.size,
            "validation": splits.validation.size,
            "test": splits.test.size,
        },
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
    step = build_step(parts)
    choice = choose_loop(parts, step)
    parts = parts.with_loop(choice.name)
    check_stop(stop)
    if not parts.place.is_chief:
        run = Run(Path(name_run(parts.place)))
        return work_on(run, parts, step, choice, writers, stop, resume=False)
    run = claim_run(runs_folder(runs), parts.config, name=name)
    with alone(run):
        name_run(parts.place, run)
        describe_data(run, parts.predictor)
        keep_samples(run, parts.splits.validation)
        run.write_json("environment.json", asdict(read_environment(device_names())))
        run.write_json("loop.json", describe_loop(choice))
        return work_on(run, parts, step, choice, writers, stop, resume=False)


def device_names() -> list[str]:
    """Returns TensorFlow's devices, e.g. `CPU:0`."""
    devices = tf.config.list_physical_devices()
    return [device.name.removeprefix("/physical_device:") for device in devices]


def build_step(parts: Assembly) -> TapeStep:
    """Builds the optimizer and what one update does."""
    made = (parts.predictor, parts.loss, parts.optimizer, parts.metrics)
    if (place := parts.place).replicas > 1:
        # A TPU has one process, which feeds all of its cores.
        examples = parts.config.data.batch_size if place.name == "tpu" else None
        return ReplicatedStep(
            *made, strategy=place.strategy, devices=place.devices, examples=examples
        )
    return TapeStep(*made)


def describe_loop(choice: LoopChoice) -> dict[str, Any]:
    """Returns the content of `loop.json`."""
    return {
        "loop": choice.name,
        "reason": choice.reason,
        "seconds_per_step": dict(choice.seconds_per_step),
    }


def work_on(
    run: Run,
    parts: Assembly,
    step: TapeStep,
    choice: LoopChoice,
    writers: Sequence[Writer],
    stop: StopRequest,
    *,
    resume: bool,
    force: bool = False,
    notes: Sequence[str] = (),
) -> TrainedRun:
    """Trains the parts into a run, with everything written that a run holds."""
    chief = parts.place.is_chief
    log = LogFile(run.path / "log.txt") if chief else Writer()
    writer = MultiWriter([log, *(writers if chief else ())])
    try:
        session = Session(run, parts, step, choice.loop, writer=writer, stop=stop)
        if resume:
            with without_lost_workers(parts.place):
                session.restore(force=force)
        if chief:
            writer.add(MetricsFile(run, session.first_step))
            writer.add(TensorBoard(run.path / "tensorboard", to_toml(parts.config)))
        writer.note(_opening(run, parts, session.first_step))
        where = f"strategy {parts.place.name}: {parts.place.reason}"
        for note in (*notes, where, f"loop {choice.name}: {choice.reason}"):
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
    config, splits = parts.config, parts.splits
    return (
        f"{run.path}: {config.model.name} ({parts.parameters:,} parameters) on"
        f" {config.data.source} ({splits.train.size:,} train, {splits.validation.size:,}"
        f" validation, {splits.test.size:,} test), steps {first_step + 1:,} to"
        f" {parts.total_steps:,}"
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
