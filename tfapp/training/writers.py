"""Where the numbers of a training go: each writer is one destination."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfapp.errors import reason_of, storage_errors
from tfapp.models.predictor import Predictor
from tfapp.runs import Run, write_whole
from tfapp.training.graph import prediction_graph
from tfapp.training.progress import Progress


class Writer:
    """A destination of scalars and of notes in plain words; takes no interest in any by default."""

    def progress(self, progress: Progress) -> None:
        """Is called after every trip of the loop, a few times a second."""

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Takes the values of one split at the end of an epoch."""

    def note(self, text: str) -> None:
        """Takes one line about what happened."""

    def close(self) -> None:
        """Is called once, when the run ends for whatever reason."""


class MetricsFile(Writer):
    """Appends `metrics.jsonl`.

    Args:
        run: The run it belongs to.
        first_step: Rows after it are dropped first: a resumed run writes them again.
    """

    def __init__(self, run: Run, first_step: int) -> None:
        self._path = run.metrics_file
        kept = [row for row in run.metrics() if row["step"] <= first_step]
        write_whole(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Appends one line."""
        row = {"split": split, "step": progress.step, "epoch": progress.epoch, **values}
        with storage_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


class LogFile(Writer):
    """Appends notes and one line an epoch, with the time, to `log.txt`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Appends the values of a split."""
        shown = "  ".join(f"{name} {value:.6g}" for name, value in values.items())
        self.note(f"epoch {progress.epoch}/{progress.epochs}  {split}  {shown}")

    def note(self, text: str) -> None:
        """Appends one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with storage_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {text}\n")


class TensorBoard(Writer):
    """Writes event files, one folder a split with equal tags, so that curves lie over each other.

    Args:
        folder: The run's `tensorboard` folder.
        config: Shown as text.
        first_step: What was written for later steps counts no more: a resumed run writes it again.
        predictor: Its graph is shown; a resumed run has it already.
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        *,
        first_step: int = 0,
        predictor: Predictor | None = None,
    ) -> None:
        self._folder = folder
        self._first_step = first_step
        self._writers: dict[str, Any] = {}
        with self._writer("train").as_default():
            tf.summary.text("config", f"```toml\n{config}\n```", step=first_step)
            if predictor is not None and not first_step:
                _write_graph(predictor)
        self._writer("train").flush()

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Writes each value under its own name."""
        with self._writer(split).as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=progress.step)
        self._writer(split).flush()

    def close(self) -> None:
        """Closes the event files."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, split: str) -> Any:
        if split not in self._writers:
            writer = tf.summary.create_file_writer(str(self._folder / split))
            # TensorBoard forgets the steps from this one on that other files of the folder tell of.
            start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
            event = tf.compat.v1.Event(
                wall_time=time.time(), step=self._first_step + 1, session_log=start
            )
            tf.raw_ops.ImportEvent(writer=writer._resource, event=event.SerializeToString())
            self._writers[split] = writer
        return self._writers[split]


def _write_graph(predictor: Predictor) -> None:
    try:
        tf.summary.graph(prediction_graph(predictor))
    except Exception as error:  # a model of the user's may take batches of one size only
        reason = f"it cannot be drawn for a batch of any size: {reason_of(error)}"
        tf.summary.text("graph", reason, step=0)


class MultiWriter(Writer):
    """Hands everything to several writers in turn."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = list(writers)

    def add(self, writer: Writer) -> None:
        """Hands everything to one writer more from now on."""
        self._writers.append(writer)

    def progress(self, progress: Progress) -> None:
        """Hands it on."""
        for writer in self._writers:
            writer.progress(progress)

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Hands it on."""
        for writer in self._writers:
            writer.scalars(split, progress, values)

    def note(self, text: str) -> None:
        """Hands it on."""
        for writer in self._writers:
            writer.note(text)

    def close(self) -> None:
        """Closes each, even when one before it fails."""
        with ExitStack() as stack:
            for writer in reversed(self._writers):
                stack.callback(writer.close)
