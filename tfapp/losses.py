"""Losses by name, told what the labels and the model's outputs mean.

Shapes: B is the batch, K the number of classes, n the model's outputs. Labels come as `[B]`
class indices or `[B]` targets; each loss gets them in the form it needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import keras
import tensorflow as tf

from tfapp import names
from tfapp.data.splits import DataInfo
from tfapp.errors import ModelMismatch, UsageError
from tfapp.outputs import Outputs

# (labels, outputs, sample weights or None) to a scalar.
Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor | None], tf.Tensor]

_FOR_PROBABILITIES = frozenset(
    {"categorical_generalized_cross_entropy", "dice", "kl_divergence", "tversky"}
)
# These are not defined for logits and have no `from_logits`; poisson takes counts besides.
_NEEDS_PROBABILITIES = _FOR_PROBABILITIES | {"poisson"}
# These compare the outputs of an example with one another: of one output nothing is learned.
_NEEDS_SEVERAL_OUTPUTS = frozenset(
    {
        "categorical_crossentropy",
        "categorical_focal_crossentropy",
        "cosine_similarity",
        "sparse_categorical_crossentropy",
    }
)
# Values of a Keras loss's `reduction`.
_MEANS = ("mean", "sum_over_batch_size")
# One number for the whole batch, so there are no losses of examples to weight.
_OF_WHOLE_BATCH = frozenset({"dice", "tversky"})


class TaskLoss:
    """A scalar loss over `[B]` labels and `[B, n]` outputs, weighted by class if asked.

    Args:
        name: What it is called in configs.
        function: `(labels, outputs, sample_weight)` to a float32 scalar.
        class_weights: `[K]` weights, or `None` for equal ones.
        is_mean: Whether it is a mean over examples, so that parts of a batch add up to the whole.
    """

    def __init__(
        self,
        name: str,
        function: Loss,
        class_weights: Sequence[float] | None = None,
        *,
        is_mean: bool = True,
    ) -> None:
        self.name = name
        self.is_mean = is_mean
        self._function = function
        self._weights = None if class_weights is None else tf.constant(class_weights, tf.float32)

    def __call__(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the mean loss of a batch: sum of weighted losses over B."""
        weights = None if self._weights is None else tf.gather(self._weights, labels)
        return self._function(labels, outputs, weights)


def default_loss(info: DataInfo, outputs: Outputs) -> str:
    """Returns the loss that suits the data: cross-entropy for classes, squares for numbers."""
    if outputs.kind == "objective":
        return names.OUTPUT_LOSS
    if info.task == "regression":
        return "mean_squared_error"
    return "binary_crossentropy" if outputs.width == 1 else "sparse_categorical_crossentropy"


def build_loss(
    name: str,
    info: DataInfo,
    outputs: Outputs,
    class_weights: Sequence[float] | None = None,
    *,
    model: Any = None,
) -> TaskLoss:
    """Makes a loss.

    Args:
        name: A Keras loss in snake case, `model_output`, `compiled`, or an import path to a
            function `(labels, outputs) -> loss` or a `keras.losses.Loss`.
        info: Decides the form of the labels.
        outputs: Decides `from_logits`.
        class_weights: `[K]` weights of the classes.
        model: Holds the loss that is called `compiled`.

    Raises:
        UsageError: The loss does not fit the task.
        ModelMismatch: The model's outputs do not fit the classes.
    """
    given = None
    if name == names.COMPILED:
        name, given = _compiled(model)
    if class_weights and not any(class_weights):
        raise UsageError("train.class_weights are all 0, so nothing would be learned.")
    if class_weights is not None and (not info.classes or len(class_weights) != len(info.classes)):
        raise UsageError(
            f"train.class_weights has {len(class_weights)} weights, the data has"
            f" {len(info.classes)} classes: {', '.join(info.classes) or 'none, it is regression'}."
        )
    if class_weights is not None and name in _OF_WHOLE_BATCH:
        raise UsageError(
            f"train.class_weights cannot go with train.loss {name!r}, which is one number for the"
            " whole batch. Leave them out, or use categorical_focal_crossentropy."
        )
    check_outputs(info, outputs)
    if name == names.OUTPUT_LOSS:
        return TaskLoss(name, _model_output, class_weights)
    if names.is_import_path(name):
        function, is_mean = _imported(name, info)
        return TaskLoss(name, function, class_weights, is_mean=is_mean)
    function = _keras_loss(name, info, outputs, given)
    is_mean = name not in _OF_WHOLE_BATCH and getattr(given, "reduction", "mean") in _MEANS
    return TaskLoss(name, function, class_weights, is_mean=is_mean)


def check_outputs(info: DataInfo, outputs: Outputs) -> None:
    """Refuses a model whose outputs cannot stand for the labels.

    Raises:
        ModelMismatch: With both numbers.
    """
    if outputs.kind == "objective":
        return
    wanted = {len(info.classes)} if info.classes else {1}
    if len(info.classes) == 2:
        wanted.add(1)
    if outputs.width not in wanted:
        what = f"{len(info.classes)} classes" if info.classes else "one target number"
        raise ModelMismatch(
            f"the model's last layer is {outputs.width} wide, but {info.source} has {what}. In a"
            " model of your own let the constructor take `outputs` and make the last layer that"
            " wide; else choose another: tfapp models list."
        )


def _model_output(_: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    values = tf.reduce_mean(outputs, axis=-1)
    return tf.reduce_mean(values if weights is None else values * weights)


def _compiled(model: Any) -> tuple[str, keras.losses.Loss | None]:
    """Returns the name of the loss that a model was compiled with, and the object if it was one."""
    said = getattr(model, "loss", None)
    if said is None:
        raise UsageError(
            "train.loss is 'compiled', but the model was compiled without a loss. Leave train.loss"
            " out, or name one, e.g. --loss sparse_categorical_crossentropy."
        )
    found = said[0] if isinstance(said, (list, tuple)) and len(said) == 1 else said
    with suppress(TypeError, ValueError):
        found = keras.losses.get(found)
    given = found if isinstance(found, keras.losses.Loss) else None
    for name, class_name in names.LOSSES.items():
        forms = (getattr(keras.losses, class_name), getattr(keras.losses, name, None))
        if (found if given is None else type(given)) in forms:
            if getattr(given, "reduction", "mean") in ("none", None):
                break
            return name, given
    what = getattr(found, "__name__", None) or type(found).__name__
    raise UsageError(
        f"the model was compiled with the loss {what}, which cannot be told here what the labels"
        " look like. Name it by its import path, --loss mypackage.losses:mine, or take one of"
        " Keras's, reduced to a mean."
    )


def _keras_loss(
    name: str, info: DataInfo, outputs: Outputs, given: keras.losses.Loss | None = None
) -> Loss:
    maker = getattr(keras.losses, names.LOSSES[name])
    takes_logits = "from_logits" in inspect.signature(maker).parameters
    if info.task == "regression" and (takes_logits or name in _FOR_PROBABILITIES):
        raise UsageError(
            f"train.loss {name!r} is for classes, but {info.source} has real-valued labels."
            " Use mean_squared_error, mean_absolute_error or huber, or set"
            " data.task = 'classification'."
        )
    if name in _NEEDS_SEVERAL_OUTPUTS and outputs.width == 1:
        instead = "mean_squared_error" if info.task == "regression" else "binary_crossentropy"
        raise ModelMismatch(
            f"train.loss {name!r} compares the outputs of an example with one another, but the"
            f" model gives only 1. Use {instead}."
        )
    made = maker() if given is None else given
    if info.task == "regression":
        loss = _unscaled(made)
        return lambda labels, out, weights: loss(labels[:, tf.newaxis], out, weights)
    if takes_logits:
        made = maker(**{**made.get_config(), "from_logits": outputs.kind == "logits"})
    loss = _unscaled(made)
    if name.startswith("sparse_"):
        return lambda labels, out, weights: loss(labels, out, weights)
    if name in _NEEDS_PROBABILITIES:
        takes_indices = name == "categorical_generalized_cross_entropy"  # whatever its name says
        return lambda labels, out, weights: loss(
            labels if takes_indices else tf.one_hot(labels, len(info.classes)),
            outputs.probabilities(out),
            weights,
        )
    return lambda labels, out, weights: loss(outputs.targets(labels), out, weights)


def _imported(name: str, info: DataInfo) -> tuple[Loss, bool]:
    """Returns the loss, and whether it is a mean over examples."""
    found = names.import_object("loss", name)
    if isinstance(found, type) and issubclass(found, keras.losses.Loss):
        try:
            found = found()
        except TypeError as error:
            raise UsageError(
                f"train.loss {name!r} cannot be made without arguments: {error}."
                " Give its arguments defaults, or name an instance instead of the class."
            ) from error
    if not callable(found) or isinstance(found, type):
        raise UsageError(
            f"train.loss {name!r} is a {type(found).__name__}; expected a function"
            " (labels, outputs) -> loss, or a keras.losses.Loss."
        )
    is_mean = getattr(found, "reduction", "mean") in _MEANS
    loss = _unscaled(found) if isinstance(found, keras.losses.Loss) else _mean_of(found)
    if info.task == "regression":
        return lambda labels, out, weights: loss(labels[:, tf.newaxis], out, weights), is_mean
    return loss, is_mean


def _unscaled(loss: keras.losses.Loss) -> Loss:
    """Makes a loss the mean over what its replica holds; Keras divides that by their number."""
    # Not by `copy`, for which Keras writes the loss out and reads it back by its class's name.
    by_example = object.__new__(type(loss))
    vars(by_example).update(vars(loss) | {"reduction": "none"})

    def mean(labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return loss(labels, outputs, weights)
        return tf.reduce_mean(by_example(labels, outputs, weights))

    return mean


def _mean_of(function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Loss:
    """Gives a plain function that returns one loss an example the mean over the batch."""

    def mean(labels: tf.Tensor, outputs: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
        losses = tf.cast(function(labels, outputs), tf.float32)
        return tf.reduce_mean(losses if weights is None else losses * weights)

    return mean
