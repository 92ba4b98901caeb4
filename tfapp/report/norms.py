"""How large the weights of a run are, at each checkpoint, and the gradients at one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfapp.data import read_batch
from tfapp.errors import TfappError
from tfapp.optimizers import LossScaling
from tfapp.training.assembly import Assembly
from tfapp.training.checkpoints import Checkpoints
from tfapp.training.restore import TrainedModel, load_trained
from tfapp.training.tape import TapeStep


@dataclass(frozen=True)
class VariableNorms:
    """The norms of one variable: roots of the sums of squares.

    Attributes:
        path: Its name in the model.
        shape: Its shape.
        weights: Norm by step of the checkpoint.
        gradient: Norm of the gradient of the training loss, at the best checkpoint; `None` where
            there is none: it is not trained, or the loss does not depend on it.
    """

    path: str
    shape: tuple[int, ...]
    weights: Mapping[int, float]
    gradient: float | None = None


@dataclass(frozen=True)
class Norms:
    """The norms of all variables of a model.

    Attributes:
        variables: In the order of the model.
        steps: Steps of the checkpoints that could be read, rising.
        best: That at which the gradients were taken.
        examples: Size of the training batch of the gradients; 0 if there are none.
    """

    variables: tuple[VariableNorms, ...]
    steps: tuple[int, ...]
    best: int
    examples: int


def measure_norms(trained: TrainedModel, parts: Assembly | None) -> Norms:
    """Takes the norms of a run's variables and gradients.

    The gradients are those of the first batch of training, with dropout and class weights as in
    training. A step forward moves what follows batches, such as the averages of batch
    normalization: the model is spent afterwards.

    Args:
        trained: The best checkpoint.
        parts: What the run was trained with; `None` without its data, then without gradients.
    """
    model = trained.predictor.model
    weights = dict(_of_checkpoints(trained))
    steps = sorted(weights)
    gradients: Mapping[int, float] = {}
    examples = 0
    if parts is not None:
        gradients, examples = _gradients(trained, parts)
    rows = [
        VariableNorms(
            path=_path(variable),
            shape=tuple(variable.shape),
            weights={step: weights[step][place] for step in steps},
            gradient=gradients.get(id(variable)),
        )
        for place, variable in enumerate(_weights(model))
    ]
    return Norms(tuple(rows), tuple(steps), trained.step, examples)


def _of_checkpoints(trained: TrainedModel) -> Iterable[tuple[int, list[float]]]:
    for step in Checkpoints(trained.run.checkpoints).steps():
        try:
            found = trained if step == trained.step else load_trained(trained.run, step=step)
        except TfappError:  # it is damaged, or gone: the run goes on
            continue
        yield step, [_norm(variable) for variable in _weights(found.predictor.model)]


def _gradients(trained: TrainedModel, parts: Assembly) -> tuple[dict[int, float], int]:
    config = trained.config
    features, labels = read_batch(
        parts.splits.train, batch_size=config.data.batch_size, seed=config.seed, step=0
    )
    optimizer, scale = parts.optimizer, parts.optimizer.loss_scale_factor or 1.0
    step = TapeStep(trained.predictor, parts.loss, optimizer, parts.metrics)
    if isinstance(optimizer, LossScaling):  # the scale that training had come to
        checkpoints = Checkpoints(trained.run.checkpoints)
        checkpoints.restore(trained.step, {"optimizer": optimizer.variables})
    _, _, gradients = step.gradients(features, labels)
    if isinstance(optimizer, LossScaling):
        gradients, scale = optimizer.unscale(gradients), 1.0
    pairs = zip(trained.predictor.model.trainable_variables, gradients, strict=True)
    norms = {id(variable): _norm(g) / scale for variable, g in pairs if g is not None}
    return norms, int(labels.shape[0])


def _weights(model: Any) -> Sequence[Any]:
    # Keras's `variables` would add the states of dropout's random generators.
    return model.variables if isinstance(model, tf.Module) else model.weights


def _norm(value: Any) -> float:
    tensor = tf.convert_to_tensor(value)  # of an embedding's gradient, the rows that it has
    return float(np.linalg.norm(np.asarray(tensor, np.float64).ravel()))


def _path(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name.removesuffix(":0")))
