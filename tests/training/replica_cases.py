"""Small trainings, run by tests on one device and by processes of their own on several.

As a program: `python replica_cases.py STRATEGY FILE CASE...` writes weights and metrics of each
case into FILE, from the chief; the devices come from the environment. The case `masks` has every
process write what its replicas drop.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfapp.config import load_config
from tfapp.data import OnePass
from tfapp.training.assembly import assemble
from tfapp.training.calibration import choose_loop
from tfapp.training.loops import EvaluationLoop
from tfapp.training.program import build_step
from tfapp.training.replicas import ReplicatedEvaluation, take_snapshot
from tfapp.training.strategy import find_place


class Regularized(keras.Model):
    """Penalties for weights and outputs, an embedding with a sparse gradient, an unused weight."""

    def __init__(self, outputs: int, feature_shape: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        penalty = keras.regularizers.L2(0.1)
        self.hidden = keras.layers.Dense(
            6, activation="tanh", kernel_regularizer=penalty, activity_regularizer=penalty
        )
        self.table = keras.layers.Embedding(4, 6)
        self.out = keras.layers.Dense(outputs)
        self.spare = self.add_weight(shape=(2,), name="spare")

    def call(self, x, training=False):
        sign = tf.cast(x[:, 0] > 0, tf.int32)
        return self.out(self.hidden(x) + self.table(sign))


def squares(labels, outputs):
    """A loss of one's own: one number an example."""
    return tf.reduce_sum((tf.one_hot(labels, 3) - outputs) ** 2, axis=-1)


BLOBS = {"data.source": "synthetic/blobs", "data.batch_size": 12, "train.epochs": 2}
# Training splits of 61 and 67 examples: the last batch has 1, or 7, of 12.
LAST_HAS_1 = BLOBS | {"data.options": {"examples": 80}}
LAST_HAS_7 = BLOBS | {"data.options": {"examples": 87}}
CASES = {
    "momentum": LAST_HAS_1
    | {"train.optimizer": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}},
    "adam_cosine": LAST_HAS_7
    | {
        "train.optimizer": {"name": "adam", "learning_rate": 0.01},
        "train.schedule": {"name": "cosine", "warmup_steps": 5},
        "train.metrics": ["accuracy", "f1_score"],
        "train.class_weights": [1.0, 2.0, 0.5],
    },
    "averages_and_clipping": LAST_HAS_7
    | {
        "train.optimizer": {
            "name": "adamw",
            "learning_rate": 0.01,
            "weight_decay": 0.1,
            "global_clipnorm": 0.05,
            "use_ema": True,
            "ema_momentum": 0.8,
        }
    },
    "own_model_and_loss": LAST_HAS_1
    | {
        "model.name": "replica_cases:Regularized",
        "train.loss": "replica_cases:squares",
        # Not Adam: on one device, Keras's squares an embedding's gradient row by row before it
        # adds up the rows of one index, so that it is not that of the whole gradient.
        "train.optimizer": {"name": "sgd", "learning_rate": 0.05},
    },
    # The first loss scale, 32768, is right for the mean over a batch, not for its sum.
    "float16": BLOBS
    | {
        "data.options": {"examples": 800},
        "data.batch_size": 240,
        "train.precision": "mixed_float16",
        "train.optimizer": {"name": "sgd", "learning_rate": 0.05},
    },
    "batch_normalization": {
        "data.source": "synthetic/images",
        "data.options": {"examples": 80, "size": 8},
        "data.batch_size": 12,
        "model.name": "cnn",
        "model.options": {"filters": [4], "dense": 8, "dropout": 0.0},
        "train.epochs": 2,
        "train.optimizer": {"name": "sgd", "learning_rate": 0.05},
    },
}


def train(settings, strategy: str) -> dict[str, np.ndarray]:
    """Trains one case without a run; returns every variable, and the metrics of both splits."""
    place = find_place(strategy)
    parts = assemble(
        load_config(overrides=settings | {"train.loop": "streaming"}),
        data_dir=Path(tempfile.gettempdir()),
        place=place,
    )
    step = build_step(parts)
    loop = choose_loop(parts, step).loop
    loop.start(0)
    first = 4  # in two trips
    assert loop.run(first).finite
    assert loop.run(parts.total_steps - first).finite
    batches = OnePass(parts.splits.validation, 12)
    made = (parts.predictor, parts.validation_loss, parts.validation_metrics, batches)
    several = place.replicas > 1
    evaluation = ReplicatedEvaluation(place.strategy, *made) if several else EvaluationLoop(*made)
    measured = {"train": parts.metrics.result(), "validation": evaluation.run()}
    variables = parts.variables
    if several:
        variables = take_snapshot(variables, parts.metrics)
    found = {
        f"{part}/{i}": keras.ops.convert_to_numpy(v.value)
        for part, listed in variables.items()
        for i, v in enumerate(listed)
    }
    return found | {
        f"measured/{split}/{name}": np.float64(value)
        for split, values in measured.items()
        for name, value in values.items()
    }


def draw_masks(strategy: str) -> dict[str, np.ndarray]:
    """Returns what two calls of a model with dropout give in each replica of this process."""
    place = find_place(strategy)
    settings = BLOBS | {
        "model.options": {"hidden": [64], "dropout": 0.5},
        "train.loop": "streaming",
    }
    parts = assemble(
        load_config(overrides=settings), data_dir=Path(tempfile.gettempdir()), place=place
    )
    build_step(parts)

    @tf.function
    def draw():
        return place.strategy.run(lambda: parts.predictor.outputs(tf.ones([1, 2]), training=True))

    drawn = [place.strategy.experimental_local_results(draw()) for _ in range(2)]
    return {
        f"{place.worker * place.devices + i}/{call}": value.numpy()
        for call, values in enumerate(drawn)
        for i, value in enumerate(values)
    }


def main(strategy: str, file: str, *names: str) -> None:
    """Writes `FILE`, and `FILE.masks-INDEX.json` from every process."""
    place = find_place(strategy)
    results = {name: train(CASES[name], strategy) for name in names if name in CASES}
    if "masks" in names:
        masks = {key: value.ravel().tolist() for key, value in draw_masks(strategy).items()}
        Path(f"{file}.masks-{place.worker}.json").write_text(json.dumps(masks))
    if place.is_chief:
        flat = {f"{case}:{key}": v for case, values in results.items() for key, v in values.items()}
        np.savez(file, replicas=place.replicas, **flat)


if __name__ == "__main__":
    main(*sys.argv[1:])
