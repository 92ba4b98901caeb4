"""The signatures of an exported model, and what each of them takes.

    serving_default, predict   raw features by name       probabilities and class_id, or value
    classify                   serialized tf.Examples     classes and scores
    regress                    serialized tf.Examples     outputs
    encoded_image              PNG, JPEG, GIF, BMP files  as predict

A model's own `tf.function`s that have an input signature are there besides, under their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfapp.data.image_files import decode
from tfapp.errors import ExportError
from tfapp.exported import input_specs
from tfapp.models.predictor import Predictor

# What a client may call a signature by, besides Predict.
# Source: `saved_model/signature_constants.py` in TensorFlow.
METHODS = {"classify": "tensorflow/serving/classify", "regress": "tensorflow/serving/regress"}
PREDICT = ("serving_default", "predict")


class ServingModule(tf.Module):
    """What is saved: a predictor with fixed input signatures and the lookups they need.

    Images and tables of numbers are one input, `image` `[B, H, W, C]` or `features` `[B, F]`, of
    the type they have in the data. A table with text columns is one input `[B]` a column, and
    texts are looked up inside the graph.

    Args:
        predictor: The trained model behind its scaling.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self._untracked = _Untracked(predictor)
        self.resources = _resources(predictor)
        self.tables = {
            column.name: _code_table(column.vocabulary)
            for column in predictor.info.columns or ()
            if column.vocabulary is not None
        }
        self._specs = input_specs(predictor.info)
        self.serving = tf.function(self._predict, input_signature=list(self._specs.values()))
        texts = [tf.TensorSpec([None], tf.string, "inputs")]
        regression = predictor.info.task == "regression"
        self.from_examples = tf.function(
            self._regress if regression else self._classify, input_signature=texts
        )
        self.from_encoded = None  # what is set is traced and saved
        if takes_encoded_images(self._specs):
            files = [tf.TensorSpec([None], tf.string, "image_bytes")]
            self.from_encoded = tf.function(self._predict_encoded, input_signature=files)

    @property
    def predictor(self) -> Predictor:
        """The trained model behind its scaling."""
        return self._untracked.predictor

    def signatures(self) -> dict[str, Any]:
        """Returns the function of each signature by name.

        Raises:
            ExportError: The model has a function of its own with the name of one of ours.
        """
        info = self.predictor.info
        ours = dict.fromkeys(PREDICT, self.serving)
        ours["regress" if info.task == "regression" else "classify"] = self.from_examples
        if self.from_encoded is not None:
            ours["encoded_image"] = self.from_encoded
        own = _own_functions(self.predictor.model)
        if taken := sorted(own.keys() & ours.keys()):
            raise ExportError(
                f"the model has a tf.function of its own called {taken[0]!r}, which is a signature"
                " that every export has. Give it another name."
            )
        return ours | own

    def features(self, *inputs: tf.Tensor) -> tf.Tensor:
        """Returns `[B, *feature_shape]` raw features from the inputs, texts looked up."""
        if not self.tables:
            return inputs[0]
        columns = self.predictor.info.columns or ()
        coded = [
            tf.cast(self.tables[column.name].lookup(values), tf.float32)
            if column.name in self.tables
            else values
            for column, values in zip(columns, inputs, strict=True)
        ]
        return tf.stack(coded, axis=-1)

    def _predict(self, *inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.predictor(self.features(*inputs))

    def _classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = self._predict(*self._parse(inputs))["probabilities"]
        names = tf.constant(self.predictor.info.classes)
        return {"classes": tf.repeat(names[tf.newaxis], tf.shape(scores)[0], 0), "scores": scores}

    def _regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": self._predict(*self._parse(inputs))["value"]}

    def _parse(self, examples: tf.Tensor) -> list[tf.Tensor]:
        """Returns the inputs that serialized `tf.train.Example`s `[B]` hold, by their names."""
        wanted = {
            name: tf.io.FixedLenFeature(spec.shape[1:], _stored_type(spec.dtype))
            for name, spec in self._specs.items()
        }
        parsed = tf.io.parse_example(examples, wanted)
        return [
            tf.cast(parsed[n], s.dtype) if s.dtype != tf.string else parsed[n]
            for n, s in self._specs.items()
        ]

    def _predict_encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        height, width, channels = self.predictor.info.feature_shape
        images = tf.map_fn(
            lambda data: decode(data, channels, (height, width)),
            image_bytes,
            fn_output_signature=tf.TensorSpec([height, width, channels], tf.uint8),
        )
        return self._predict(images)


@dataclass(frozen=True)
class _Untracked:
    """Hides a predictor from `tf.Module`, which would save the objects that it consists of."""

    predictor: Predictor


def _resources(predictor: Predictor) -> list[Any]:
    """Returns all that a predictor's functions may hold: variables, tables, files.

    They are saved alone. Keras 3 saves a layer's variable as a copy of it, which a loader of
    objects (`tf.saved_model.load`) knows to be the same; one of graphs, as in TensorFlow Serving,
    fills the copy, and the variable that is computed with stays empty.
    """
    model = predictor.model
    roots = [predictor, *(model._flatten_layers() if isinstance(model, keras.Model) else ())]
    found = [each for root in roots for each in tf.train.TrackableView(root).descendants()]
    kept = [
        thing.value if isinstance(thing, keras.Variable) else thing
        for thing in (*model.variables, *found)
        if isinstance(
            thing,
            keras.Variable
            | tf.Variable
            | tf.saved_model.Asset
            | tf.saved_model.experimental.TrackableResource,
        )
    ]
    return list({id(thing): thing for thing in kept}.values())


def takes_encoded_images(specs: Mapping[str, tf.TensorSpec]) -> bool:
    """Tells whether a model's features are what an image file holds: bytes, grey or in colour."""
    image = specs.get("image")
    return image is not None and image.dtype == tf.uint8 and image.shape[-1] in (1, 3)


def output_specs(module: ServingModule) -> dict[str, tf.TensorSpec]:
    """Returns the named outputs of `serving_default`."""
    outputs: dict[str, tf.TensorSpec] = module.serving.get_concrete_function().structured_outputs
    return outputs


def _own_functions(model: Any) -> dict[str, Any]:
    """Returns the public functions of a model's own class that say what they take."""
    names = {
        name
        for kind in type(model).__mro__
        if not issubclass(keras.Model, kind) and not issubclass(tf.Module, kind)
        for name, member in vars(kind).items()
        if isinstance(member, tf.types.experimental.PolymorphicFunction)
        and not name.startswith("_")
    }
    found = {name: getattr(model, name) for name in sorted(names)}
    return {name: own for name, own in found.items() if own.input_signature is not None}


def _stored_type(dtype: tf.DType) -> tf.DType:
    """Returns the type that a `tf.train.Example` keeps values of a type in."""
    return tf.int64 if dtype.is_integer else dtype


def _code_table(vocabulary: tuple[str, ...]) -> tf.lookup.StaticHashTable:
    codes = tf.range(1, len(vocabulary) + 1, dtype=tf.int64)  # LiteRT has no tables of floats
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(vocabulary), codes), default_value=0
    )
