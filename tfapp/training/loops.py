"""Loops: who calls the step, and how many times for one trip out of the graph.

    loop = build_loop("resident", step, splits.train, batch_size=64, seed=0)
    loop.start(0)
    loop.run(100)      # LoopResult(steps=100, finite=True)

Every loop sees the same batches in the same order. `streaming` reads them from a `tf.data`
iterator inside one compiled call; `streaming_xla` has XLA compile the step as well; `resident`
keeps the split on the device and has XLA compile the whole loop; `eager` runs step by step in
Python. XLA rounds differently from TensorFlow's own kernels, so loops agree only up to the last
bits of a float; each of them alone repeats itself exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tensorflow as tf

from tfapp import names
from tfapp.data import OnePass, TrainingBatches, steps_per_epoch
from tfapp.data.pipeline import Part, epoch_order
from tfapp.data.splits import ArraySplit, Split
from tfapp.errors import UnknownName, UsageError
from tfapp.losses import TaskLoss
from tfapp.metrics import MetricSet
from tfapp.models.predictor import Predictor

# The orders of so many epochs are drawn at once, of large splits fewer: up to so many indices.
_MOST_EPOCHS = 16
_INDICES = 100_000


class Step(Protocol):
    """One update from one batch."""

    def __call__(self, *batch: tf.Tensor) -> tf.Tensor:
        """Applies one update, unless it is not finite.

        Args:
            batch: Features and labels; of a part of a batch also the size of the whole.

        Returns:
            Scalar bool: whether training can go on.
        """

    def unguarded(self, *batch: tf.Tensor) -> tf.Tensor:
        """Applies one update in any case, for a caller that can put every variable back.

        Args:
            batch: As above.

        Returns:
            As above.
        """


@dataclass(frozen=True)
class LoopResult:
    """What one call of a loop did.

    Attributes:
        steps: Updates applied.
        finite: False when the step after them met NaN or Inf and was not applied.
    """

    steps: int
    finite: bool


Batches = Callable[[int, int], tf.data.Dataset]


class Loop(Protocol):
    """Runs steps over the training split, from wherever it was told to start."""

    def reorder(self, seed: int) -> None:
        """Has every epoch from the next `start` on in the order that `seed` decides."""

    def start(self, step: int) -> None:
        """Places the loop before `step`, counted from the start of training."""

    def run(self, num_steps: int) -> LoopResult:
        """Runs `num_steps` steps, fewer if one is not finite."""


class StreamingLoop:
    """Runs many steps over an iterator in one compiled call.

    Python is paid once a call instead of once a batch, and the number of steps is a tensor, so
    that calls of any length share one trace.

    Args:
        step: What is run.
        batches: Given a seed and a step, returns an endless `tf.data.Dataset` of
            `(features, labels)` from there on.
        seed: Decides the order of every epoch.
        xla: Whether XLA compiles the step; an uneven last batch is compiled for itself.
    """

    def __init__(self, step: Step, batches: Batches, *, seed: int, xla: bool = False) -> None:
        self._step = tf.function(step, jit_compile=True) if xla else step
        self._batches = batches
        self._seed = seed
        self._iterator: Iterator[Any]

    def reorder(self, seed: int) -> None:
        """Has every epoch from the next `start` on in the order that `seed` decides."""
        self._seed = seed

    def start(self, step: int) -> None:
        """Makes an iterator that begins with the batch of `step`."""
        self._iterator = iter(self._batches(self._seed, step))

    def run(self, num_steps: int) -> LoopResult:
        """Runs `num_steps` steps, fewer if one is not finite."""
        steps, finite = self._run(self._iterator, tf.constant(num_steps, tf.int64))
        return LoopResult(int(steps), bool(finite))

    def operations(self) -> list[str]:
        """Returns the type of every operation of the compiled call, as often as it is there."""
        count = tf.TensorSpec([], tf.int64)
        return _operations(self._run.get_concrete_function(self._iterator, count).graph)

    @tf.function
    def _run(self, iterator: Iterator[Any], num_steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        steps = tf.constant(0, tf.int64)
        finite = tf.constant(True)
        while steps < num_steps and finite:
            finite = self._step(*next(iterator))
            steps += tf.cast(finite, tf.int64)
        return steps, finite


class ResidentLoop:
    """Runs many steps in one program of XLA, over examples that stay on the device.

    A batch is gathered by its indices inside the program. The order of an epoch is drawn once,
    outside: XLA would sort all N numbers anew in every step. The uneven last batch of an epoch has
    another shape and is a program of its own.

    A branch around the update would have XLA copy every variable in every step. So every update is
    applied; after one that was not finite all variables get the values they had before the call,
    and the steps before it are run again.

    Args:
        step: Its `unguarded` is used.
        split: Examples in memory.
        batch_size: B, at least 1.
        seed: Decides the order of every epoch.
    """

    def __init__(self, step: Step, split: ArraySplit, *, batch_size: int, seed: int) -> None:
        self._step = step
        self._size = split.size
        self._batch_size = batch_size
        self._seed = tf.constant(seed, tf.int64)
        # Moved to the first accelerator, if there is one; on a CPU nothing is copied.
        self._features, self._labels = (tf.identity(array) for array in split.tensors)
        self._next_step = 0
        self._graph: tf.Graph | None = None
        self._epochs_together = max(1, min(_MOST_EPOCHS, _INDICES // split.size))
        self._orders: dict[int, tf.Tensor] = {}  # by epoch
        self._variables: dict[int, Sequence[tf.Variable]] = {}  # by size of the batch

    def reorder(self, seed: int) -> None:
        """Has every epoch from the next `start` on in the order that `seed` decides."""
        self._seed = tf.constant(seed, tf.int64)
        self._orders = {}

    def start(self, step: int) -> None:
        """Places the loop before `step`."""
        self._next_step = step

    def operations(self) -> list[str]:
        """Returns the type of every operation of the compiled calls made so far."""
        return [] if self._graph is None else _operations(self._graph)

    def run(self, num_steps: int) -> LoopResult:
        """Runs `num_steps` steps, fewer if one is not finite."""
        done = 0
        while done < num_steps:
            result = self._run_equal_batches(num_steps - done)
            done += result.steps
            self._next_step += result.steps
            if not result.finite:
                return LoopResult(done, False)
        return LoopResult(done, True)

    def _run_equal_batches(self, num_steps: int) -> LoopResult:
        """Runs to the end of the epoch, or up to its last batch where that one is smaller."""
        epoch, first = divmod(self._next_step, steps_per_epoch(self._size, self._batch_size))
        whole_order = self._order_of(epoch)
        whole, rest = divmod(self._size, self._batch_size)
        if first < whole:
            batch_size, order = self._batch_size, whole_order
            num_steps = min(num_steps, whole - first)
        else:
            batch_size, order = rest, whole_order[whole * self._batch_size :]
            first, num_steps = 0, 1
        begin = tf.constant(first * batch_size, tf.int32)
        batches = (self._features, self._labels, order, begin)
        return self._run_or_restore(batches, num_steps, batch_size)

    def _run_or_restore(
        self, batches: tuple[tf.Tensor, ...], num_steps: int, batch_size: int
    ) -> LoopResult:
        count = tf.constant(num_steps, tf.int32)
        if batch_size not in self._variables:
            program = self._run.get_concrete_function(*batches, count, batch_size)
            self._variables[batch_size] = program.graph.variables
            self._graph = program.graph
        # What is held cannot be written over, so this costs one copy a call, not one a step.
        before = [(variable, _read(variable)) for variable in self._variables[batch_size]]
        steps, finite = self._run(*batches, count, batch_size)
        if not finite:
            for variable, value in before:
                variable.assign(value)
            self._run(*batches, steps, batch_size)
        return LoopResult(int(steps), bool(finite))

    def _order_of(self, epoch: int) -> tf.Tensor:
        if epoch not in self._orders:
            orders = self._draw(self._seed, tf.constant(epoch, tf.int64))
            self._orders = dict(enumerate(orders, epoch))
        return self._orders[epoch]

    @tf.function
    def _draw(self, seed: tf.Tensor, epoch: tf.Tensor) -> list[tf.Tensor]:
        """Returns the orders `[N]` of some epochs from `epoch` on: a call costs more than few."""
        epochs = range(self._epochs_together)
        orders = [epoch_order(self._size, seed, epoch + i) for i in epochs]
        return [tf.cast(order, tf.int32) for order in orders]

    @tf.function(jit_compile=True)
    def _run(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        order: tf.Tensor,
        begin: tf.Tensor,
        num_steps: tf.Tensor,
        batch_size: int,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        # All arrays are arguments: what a compiled function captures may become a constant of it.
        steps = tf.constant(0)
        finite = tf.constant(True)
        while steps < num_steps and finite:
            # Not `tf.slice`: XLA would compile anew for every value of `begin`.
            indices = tf.gather(order, begin + steps * batch_size + tf.range(batch_size))
            finite = self._step.unguarded(tf.gather(features, indices), tf.gather(labels, indices))
            steps += tf.cast(finite, tf.int32)
        return steps, finite


def _read(variable: tf.Variable) -> tf.Tensor:
    """Returns the value; `read_value` takes three times as long, which tells in short calls."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


class EagerLoop:
    """Runs step by step in Python: slow, but prints, breakpoints and debuggers work in a model.

    Args:
        step: What is run.
        batches: As in `StreamingLoop`.
        seed: As in `StreamingLoop`.
    """

    def __init__(self, step: Step, batches: Batches, *, seed: int) -> None:
        self._step = step
        self._batches = batches
        self._seed = seed
        self._iterator: Iterator[Any]

    def reorder(self, seed: int) -> None:
        """Has every epoch from the next `start` on in the order that `seed` decides."""
        self._seed = seed

    def start(self, step: int) -> None:
        """Makes an iterator that begins with the batch of `step`."""
        self._iterator = iter(self._batches(self._seed, step))

    def run(self, num_steps: int) -> LoopResult:
        """Runs `num_steps` steps, fewer if one is not finite."""
        for done in range(num_steps):
            if not self._step(*next(self._iterator)):
                return LoopResult(done, False)
        return LoopResult(num_steps, True)


def _operations(graph: tf.Graph) -> list[str]:
    definition = graph.as_graph_def()
    functions = [node for f in definition.library.function for node in f.node_def]
    return [node.op for node in (*definition.node, *functions)]


def build_loop(
    name: str,
    step: Step,
    split: Split,
    *,
    batch_size: int,
    seed: int,
    part: Part | None = None,
) -> Loop:
    """Makes a loop over the training split; call its `start` first.

    Args:
        name: `resident`, `streaming`, `streaming_xla` or `eager`.
        step: Takes `[B, *feature_shape]` raw features and `[B]` labels.
        split: Where the examples are.
        batch_size: B, at least 1; the last batch of an epoch may be smaller.
        seed: Decides the order of every epoch.
        part: As in `training_batches`; for the loops that read from it.

    Raises:
        UsageError: `resident` was asked for examples that are not arrays in memory.
        UnknownName: There is no loop of that name.
    """
    batches = TrainingBatches(split, batch_size=batch_size, part=part)

    match name:
        case "resident":
            if not isinstance(split, ArraySplit) or split.load is not None:
                raise UsageError(
                    "train.loop 'resident' needs the examples as arrays in memory, but this source"
                    " is read batch by batch. Use 'streaming' or 'auto'; a larger"
                    " data.memory_limit_mb lets larger sources into memory."
                )
            return ResidentLoop(step, split, batch_size=batch_size, seed=seed)
        case "streaming" | "streaming_xla":
            return StreamingLoop(step, batches, seed=seed, xla=name == "streaming_xla")
        case "eager":
            return EagerLoop(step, batches, seed=seed)
    raise UnknownName("loop", name, names.LOOPS)


class EvaluationLoop:
    """Runs a model over a whole split in one compiled call.

    Args:
        predictor: The model behind its scaling.
        loss: Scalar loss of a batch.
        metrics: Reset at the start of each run.
        batches: The split's examples.
        also: Is given the labels `[B]` and the outputs `[B, n]` of each batch, inside the graph.
    """

    def __init__(
        self,
        predictor: Predictor,
        loss: TaskLoss,
        metrics: MetricSet,
        batches: OnePass,
        also: Callable[[tf.Tensor, tf.Tensor], None] | None = None,
    ) -> None:
        self._predictor = predictor
        self._loss = loss
        self._metrics = metrics
        self._batches = batches
        self._also = also

    def run(self) -> dict[str, float]:
        """Returns loss and metrics over the split."""
        self._metrics.reset()
        self._run()
        return self._metrics.result()

    @tf.function
    def _run(self) -> None:
        self._batches.visit(self._take_in)

    def _take_in(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        outputs = self._predictor.outputs(features, training=False)
        loss = self._loss(labels, outputs) + self._predictor.regularization()
        self._metrics.update(labels, outputs, loss)
        if self._also is not None:
            self._also(labels, outputs)
