"""Warm-up requests: what TensorFlow Serving runs on a version before anybody else may.

assets.extra/tf_serving_warmup_requests     TFRecord of PredictionLog, from real rows
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    model_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

from tfapp.export.requests import Arrays, request_for

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(
    folder: Path, model: str, signatures: Iterable[str], inputs: Arrays, batch_sizes: Sequence[int]
) -> int:
    """Writes a request to each signature in each batch size.

    Args:
        folder: The SavedModel.
        model: Name of the model.
        signatures: Those of tfapp that it has.
        inputs: Named inputs of `serving_default`, N rows of each; repeated for larger batches.
        batch_sizes: Rows of a request.

    Returns:
        How many requests were written.

    Source: the place, the form and the limit of 1000 records are TensorFlow Serving's,
    `g3doc/saved_model_warmup.md`.
    """
    file = folder / WARMUP
    file.parent.mkdir(exist_ok=True)
    logs = [
        _log(model, signature, _take(inputs, size))
        for signature in signatures
        for size in batch_sizes
    ]
    with tf.io.TFRecordWriter(str(file)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return len(logs)


def _take(inputs: Arrays, size: int) -> dict[str, Any]:
    rows = np.arange(size) % len(next(iter(inputs.values())))
    return {name: values[rows] for name, values in inputs.items()}


def _log(model: str, signature: str, inputs: Arrays) -> prediction_log_pb2.PredictionLog:
    spec = model_pb2.ModelSpec(name=model, signature_name=signature)
    request = request_for(signature, inputs)
    log = prediction_log_pb2.PredictionLog()
    if signature == "classify":
        asked = classification_pb2.ClassificationRequest(model_spec=spec)
        _fill(asked.input, request["inputs"])
        log.classify_log.request.CopyFrom(asked)
    elif signature == "regress":
        wanted = regression_pb2.RegressionRequest(model_spec=spec)
        _fill(wanted.input, request["inputs"])
        log.regress_log.request.CopyFrom(wanted)
    else:
        tensors = {name: tf.make_tensor_proto(value) for name, value in request.items()}
        log.predict_log.request.CopyFrom(
            predict_pb2.PredictRequest(model_spec=spec, inputs=tensors)
        )
    return log


def _fill(message: Any, examples: Iterable[bytes]) -> None:
    for example in examples:
        message.example_list.examples.add().ParseFromString(example)
