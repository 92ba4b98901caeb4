"""The signatures of an exported model: raw features in by name, predictions out by name."""

from __future__ import annotations

import tensorflow as tf

from tfapp.exported import input_specs
from tfapp.models.predictor import Predictor


class ServingModule(tf.Module):
    """What is saved: a predictor with a fixed input signature and the lookups it needs.

    Images and tables of numbers are one input, `image` `[B, H, W, C]` or `features` `[B, F]`, of
    the type they have in the data. A table with text columns is one input `[B]` a column, and
    texts are looked up inside the graph.

    Args:
        predictor: The trained model behind its scaling.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor
        self.tables = {
            column.name: _code_table(column.vocabulary)
            for column in predictor.info.columns or ()
            if column.vocabulary is not None
        }
        specs = list(input_specs(predictor.info).values())
        self.serving = tf.function(self._predict, input_signature=specs)

    def _predict(self, *inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.predictor(self._features(*inputs))

    def _features(self, *inputs: tf.Tensor) -> tf.Tensor:
        if not self.tables:
            return inputs[0]
        columns = self.predictor.info.columns or ()
        coded = [
            self.tables[column.name].lookup(values) if column.name in self.tables else values
            for column, values in zip(columns, inputs, strict=True)
        ]
        return tf.stack(coded, axis=-1)


def output_specs(module: ServingModule) -> dict[str, tf.TensorSpec]:
    """Returns the named outputs of a module."""
    outputs: dict[str, tf.TensorSpec] = module.serving.get_concrete_function().structured_outputs
    return outputs


def _code_table(vocabulary: tuple[str, ...]) -> tf.lookup.StaticHashTable:
    codes = tf.range(1, len(vocabulary) + 1, dtype=tf.float32)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(vocabulary), codes), default_value=0.0
    )
