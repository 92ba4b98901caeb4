"""A run or a SavedModel in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from tfapp.exported import find_version, named_inputs, read_card
from tfapp.prediction.model import Model
from tfapp.prediction.reading import Array, Reading
from tfapp.runs import find_run
from tfapp.serving.servable import load_servable
from tfapp.training.restore import info_from_json, load_trained


def loaded_model(source: str | Path, runs: str | Path | None, step: int | None) -> Model:
    """See `load_model`."""
    version = find_version(Path(source))
    if version is not None:
        return _saved_model(version)
    trained = load_trained(find_run(source, runs), step=step)
    call = tf.function(trained.predictor.__call__, reduce_retracing=True)
    data = trained.config.data
    return Model(
        trained.run.path,
        Reading(trained.predictor.info, data.image_size),
        data.batch_size,
        lambda features: {k: v.numpy() for k, v in call(tf.constant(features)).items()},
    )


def _saved_model(version: Path) -> Model:
    card = read_card(version)
    info = info_from_json(card["info"])
    # Not the folder's name: it may have been copied to another.
    servable = load_servable(card["name"], int(card["version"]), version)
    signature = servable.signatures["serving_default"]
    data = card["config"]["data"]
    size = data.get("image_size")

    def call(features: Array) -> Mapping[str, Array]:
        inputs = {name: value.numpy() for name, value in named_inputs(info, features).items()}
        return servable.run(signature, inputs)

    resized = None if size is None else (size[0], size[1])
    return Model(version, Reading(info, resized), data["batch_size"], call)
