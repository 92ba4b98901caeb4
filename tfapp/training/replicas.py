"""One update of a model whose copies live on several devices.

Every replica computes the gradient of its part of the batch; one sum over all of them gives the
gradient of the whole batch, which is applied to every copy. The result is that of one device with
the same batch, up to the order of floating-point sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfapp.data.pipeline import cut_part
from tfapp.errors import UsageError
from tfapp.losses import TaskLoss
from tfapp.metrics import MetricSet
from tfapp.models.predictor import Predictor
from tfapp.training.loops import EvaluationLoop
from tfapp.training.tape import TapeStep


class ReplicatedStep(TapeStep):
    """Applies one update to the copies of a model on all devices.

    Is called outside the strategy's scope with this process's part of the batch, which it cuts
    for its own devices.

    Args:
        predictor: As in `TapeStep`; its variables were made under the strategy.
        loss: As in `TapeStep`.
        optimizer: As in `TapeStep`.
        metrics: As in `TapeStep`.
        strategy: Where the copies are.
        devices: Replicas of this process.
        examples: b, where every batch of this process has the same size, for devices whose
            programs have fixed shapes.

    Raises:
        UsageError: The loss of a batch is not the mean of its parts' losses.
    """

    def __init__(
        self,
        predictor: Predictor,
        loss: TaskLoss,
        optimizer: keras.optimizers.Optimizer,
        metrics: MetricSet,
        *,
        strategy: tf.distribute.Strategy,
        devices: int,
        examples: int | None = None,
    ) -> None:
        if not loss.is_mean:
            raise UsageError(
                f"train.loss {loss.name!r} is no mean over examples, which several devices could"
                " work out in parts. Use train.strategy 'one', or another loss."
            )
        with strategy.scope():
            super().__init__(predictor, loss, optimizer, metrics)
        _fold_replica_into_seeds(predictor.model)
        self._strategy = strategy
        self._devices = devices
        self._examples = examples

    def __call__(
        self, features: tf.Tensor, labels: tf.Tensor, size: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Applies one update, unless loss or gradients are not finite.

        A batch of fewer examples than replicas is computed whole by each of them: the mean is the
        same, batch normalization sees the same, and no replica has nothing.

        Args:
            features: `[b, *feature_shape]` raw features, this process's part of the batch.
            labels: `[b]`.
            size: Scalar, examples of the batch over all processes; b when omitted.

        Returns:
            Scalar bool, the same on every process: whether training can go on.
        """
        batch = _fix_shapes(self._examples, features, labels)
        size = tf.shape(labels)[0] if size is None else size
        results = self._strategy.run(self._compute, args=(*batch, size))
        goes_on, gradients = tf.nest.map_structure(self._first, results)
        if goes_on:
            # Across replicas, where Keras clips and averages what is given: here the whole
            # gradient. In a replica it would clip each part by itself, and add them up again.
            variables = self.predictor.model.trainable_variables
            self.apply([gradients.get(i) for i in range(len(variables))])
        return goes_on

    def _compute(
        self, features: tf.Tensor, labels: tf.Tensor, size: tf.Tensor
    ) -> tuple[tf.Tensor, dict[int, tf.Tensor]]:
        """Runs in each replica: returns the gradients of the whole batch by variable."""
        replica = tf.distribute.get_replica_context()
        index, count = replica.replica_id_in_sync_group % self._devices, self._devices
        whole = self._examples is None and size < replica.num_replicas_in_sync
        features, labels = (cut_part(x, index, count, whole) for x in (features, labels))
        total = tf.where(whole, size * replica.num_replicas_in_sync, size)
        share = tf.cast(tf.shape(labels)[0], tf.float32) / tf.cast(total, tf.float32)
        with tf.GradientTape() as tape:
            outputs = self.predictor.outputs(features, training=True)
            loss = self.loss(labels, outputs) + self.predictor.regularization()
            # Of the mean, not of the sum: float16 would overflow by the number of examples sooner.
            scaled = self.optimizer.scale_loss(loss * share)
        gradients = tape.gradient(scaled, self.predictor.model.trainable_variables)
        # An embedding's gradient comes as slices, whose number TensorFlow cannot let vary in a sum.
        present = {i: tf.convert_to_tensor(g) for i, g in enumerate(gradients) if g is not None}
        whole_loss, *sums = replica.all_reduce(
            tf.distribute.ReduceOp.SUM, [loss * share, *present.values()]
        )
        goes_on = self.goes_on(whole_loss, sums)
        _update_if(goes_on & _counts(whole), self.metrics, labels, outputs, loss)
        return goes_on, dict(zip(present, sums, strict=True))

    def _first(self, value: Any) -> Any:
        return self._strategy.experimental_local_results(value)[0]


class ReplicatedEvaluation(EvaluationLoop):
    """Evaluates a split on all devices; each takes its part of every batch.

    Args:
        strategy: Where the copies of the model and of the metrics are.
        arguments: As in `EvaluationLoop`.
        examples: Size of every batch, for devices whose programs have fixed shapes.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, *arguments: Any, examples: int | None = None
    ) -> None:
        super().__init__(*arguments)
        self._strategy = strategy
        self._examples = examples

    def _take_in(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        batch = _fix_shapes(self._examples, features, labels)
        self._strategy.run(self._take_part, args=batch)

    def _take_part(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        replica = tf.distribute.get_replica_context()
        index, count = replica.replica_id_in_sync_group, replica.num_replicas_in_sync
        whole = self._examples is None and tf.shape(labels)[0] < count
        features, labels = (cut_part(x, index, count, whole) for x in (features, labels))
        outputs = self._predictor.outputs(features, training=False)
        loss = self._loss(labels, outputs) + self._predictor.regularization()
        _update_if(_counts(whole), self._metrics, labels, outputs, loss)


class ReplicatedMetrics(MetricSet):
    """The metrics of one split, of which every replica holds a part.

    Reading them adds all parts up in one exchange; Keras would make one for every number. All
    processes of a strategy must read, and reset, at the same step.

    Args:
        metrics: Made under the strategy.
        strategy: Where the parts are.
    """

    def __init__(self, metrics: MetricSet, strategy: tf.distribute.Strategy) -> None:
        self.loss, self.metrics = metrics.loss, metrics.metrics
        self._strategy = strategy

    def result(self) -> dict[str, float]:
        """Returns each value by name, `loss` first."""
        names = ["loss", *(metric.name for metric in self.metrics)]
        return dict(zip(names, map(float, self._result()), strict=True))

    def totals(self) -> list[Any]:
        """Returns the value of every variable, as if one replica had seen all batches."""
        return [total.numpy() for total in self._totals()]

    @tf.function
    def reset(self) -> None:
        """Forgets every batch."""
        super().reset()

    @tf.function
    def _totals(self) -> list[tf.Tensor]:
        added = self._strategy.run(self._add_up)
        return [self._strategy.experimental_local_results(value)[0] for value in added]

    def _add_up(self) -> list[tf.Tensor]:
        # Copied, because what is read from a variable has no device, which the sum asks for.
        parts = [tf.identity(tf.convert_to_tensor(variable)) for variable in self.variables]
        replica = tf.distribute.get_replica_context()
        return list(replica.all_reduce(tf.distribute.ReduceOp.SUM, parts))

    @tf.function
    def _result(self) -> list[tf.Tensor]:
        totals, values = iter(self._totals()), []
        for metric in (self.loss, *(metric.metric for metric in self.metrics)):
            own = [next(totals) for _ in metric.variables]
            values.append(tf.cast(metric.stateless_result(own), tf.float32))
        return values


@dataclass(frozen=True)
class Snapshot:
    """The value of a variable at one moment, in the form that checkpoints take.

    Attributes:
        path: The variable's.
        name: The variable's.
        value: In host memory.
    """

    path: str
    name: str
    value: tf.Variable

    @property
    def shape(self) -> tf.TensorShape:
        """Its shape."""
        return self.value.shape

    @property
    def dtype(self) -> tf.DType:
        """Its type."""
        return self.value.dtype


def take_snapshot(
    variables: Mapping[str, Sequence[Any]], metrics: ReplicatedMetrics
) -> dict[str, list[Snapshot]]:
    """Returns the values of variables on several devices.

    All processes of a strategy must call it at the same step.

    Args:
        variables: By part.
        metrics: Those of the part `metrics`.
    """
    values = {
        part: [v.numpy() for v in listed] for part, listed in variables.items() if part != "metrics"
    } | {"metrics": metrics.totals()}
    with tf.device("CPU:0"):
        return {
            part: [
                Snapshot(getattr(v, "path", v.name), v.name, tf.Variable(value, dtype=v.dtype))
                for v, value in zip(listed, values[part], strict=True)
            ]
            for part, listed in variables.items()
        }


def _fix_shapes(examples: int | None, *arrays: tf.Tensor) -> tuple[tf.Tensor, ...]:
    if examples is None:
        return arrays
    return tuple(tf.ensure_shape(array, [examples, *array.shape[1:]]) for array in arrays)


def _counts(whole: tf.Tensor | bool) -> tf.Tensor:
    """Tells a replica whether its examples are its own, or another one counts them."""
    first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
    return tf.logical_not(whole) | first


def _update_if(
    condition: tf.Tensor,
    metrics: MetricSet,
    labels: tf.Tensor,
    outputs: tf.Tensor,
    loss: tf.Tensor,
) -> None:
    def update() -> tf.Tensor:
        metrics.update(labels, outputs, loss)
        return condition

    tf.cond(condition, update, lambda: condition)


def _fold_replica_into_seeds(model: Any) -> None:
    """Lets each replica draw numbers of its own: Keras gives all of them the same.

    The state that a generator keeps stays the same on all replicas.
    """
    for generator in _seed_generators(model):
        generator.next = _folded(generator.next)


def _folded(draw: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    def next_of_replica(ordered: bool = True) -> tf.Tensor:
        seed = draw(ordered=ordered)
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return seed
        number = tf.cast(replica.replica_id_in_sync_group, tf.int32)
        folded = tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), number)
        return tf.cast(folded, seed.dtype)

    return next_of_replica


def _seed_generators(model: Any) -> Iterator[keras.random.SeedGenerator]:
    """Finds the generators in a model's attributes, its layers' and its modules'."""
    waiting, seen = [model], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, keras.random.SeedGenerator):
            yield item
        elif isinstance(item, (keras.layers.Layer, tf.Module)):
            waiting += vars(item).values()
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, (list, tuple, set)):
            waiting += item
