"""Runs the requests that came with a model before it is served, so that the first is not slow.

Source: TensorFlow Serving, `servables/tensorflow/saved_model_warmup_util.cc`.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tfapp.serving import inference
from tfapp.serving.models import DEFAULT_SIGNATURE
from tfapp.serving.observing import Observer, WarmupRecord
from tfapp.serving.servable import Servable
from tfapp.serving.status import Code, ServingError
from tfapp.serving.tensors import to_arrays

log = logging.getLogger(__name__)

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000
_NOBODY = Observer()


def warm_up(servable: Servable, *, iterations: int = 1, observer: Observer = _NOBODY) -> int:
    """Runs the requests in `assets.extra/tf_serving_warmup_requests`, if the model has them.

    Args:
        servable: The model.
        iterations: How often each is run.
        observer: Is told of it, if the model has them.

    Returns:
        How many there are.

    Raises:
        ServingError: `DATA_LOSS`: the file is no TFRecord of `PredictionLog`; `INVALID_ARGUMENT`:
            it holds more than 1000; `UNIMPLEMENTED`: one is of another kind; or what a request
            that fails ends with.
    """
    file = servable.path / WARMUP_FILE
    if not file.is_file():
        return 0
    started, count, code = time.monotonic(), 0, Code.UNKNOWN
    try:
        for record in _records(str(file)):
            count += 1
            if count > MOST_RECORDS:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {file}",
                )
            for _ in range(iterations):
                _run(servable, record)
        code = Code.OK
    except ServingError as error:
        code = error.code
        raise
    finally:
        seconds = time.monotonic() - started
        observer.warmup(WarmupRecord(servable.path, code, seconds, count))
    log.info(
        "warmed up %s version %d with %d request%s in %.2f s",
        *(servable.name, servable.version, count, "s" * (count != 1), seconds),
    )
    return count


def samples(servable: Servable, rows: int) -> dict[str, list[dict[str, np.ndarray]]]:
    """Returns inputs of requests that came with a model, by the name of their signature.

    Args:
        servable: The model.
        rows: How many of each signature are enough. All else is not kept: a thousand requests with
            an image each would fill the memory.

    Raises:
        ServingError: `DATA_LOSS`: the file is no TFRecord of `PredictionLog`.
    """
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    missing = {name: rows for name in servable.signatures if not name.startswith("__")}
    for verb, name, request in _requests(servable):
        if not (wanted := missing.get(name, 0)):
            continue
        if verb == "predict":
            inputs = to_arrays(request.inputs)
        else:
            inputs = {"inputs": inference.examples_of(request.input)}
        # Copied, since a part would keep the whole.
        kept = {alias: array[:wanted].copy() for alias, array in inputs.items() if array.ndim}
        if kept.keys() == inputs.keys():
            found.setdefault(name, []).append(kept)
            missing[name] -= max(map(len, kept.values()), default=0)
        if not any(missing.values()):
            break
    return found


def recorded_requests(servable: Servable) -> dict[str, tuple[str, Any]]:
    """Returns requests of a model's own warm-up, as far as they can be read.

    Returns:
        By the name of the signature the first that is for it: `predict`, `classify` or `regress`,
        and the request.
    """
    found: dict[str, tuple[str, Any]] = {}
    try:
        for verb, name, request in _requests(servable):
            found.setdefault(name, (verb, request))
    except ServingError as error:
        log.debug("%s", error)
    return found


def _requests(servable: Servable) -> Iterator[tuple[str, str, Any]]:
    """Gives the verb, the signature and the message of each request for one signature."""
    file = servable.path / WARMUP_FILE
    if not file.is_file():
        return
    for record in itertools.islice(_records(str(file)), MOST_RECORDS):
        kind = record.WhichOneof("log_type") or ""
        if kind in ("predict_log", "classify_log", "regress_log"):
            request = getattr(record, kind).request
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            yield kind.removesuffix("_log"), name, request


def _records(file: str) -> Iterator[Any]:
    try:
        for content in tf.data.TFRecordDataset(file).as_numpy_iterator():
            yield PredictionLog.FromString(content)
    except (tf.errors.OpError, DecodeError) as error:
        reason = getattr(error, "message", str(error))
        raise ServingError(
            Code.DATA_LOSS,
            f"{reason}; {file} cannot be read. Please verify your warmup data is in TFRecord"
            " format.",
        ) from error


def _run(servable: Servable, record: Any) -> None:
    kind = record.WhichOneof("log_type")
    if kind == "predict_log":
        request = record.predict_log.request
        inputs = dict(request.inputs.items())
        name = request.model_spec.signature_name
        inference.predict(servable, name, inputs, request.output_filter).result()
    elif kind == "classify_log":
        request = record.classify_log.request
        inference.classify(
            servable, request.model_spec.signature_name, inference.examples_of(request.input)
        ).result()
    elif kind == "regress_log":
        request = record.regress_log.request
        inference.regress(
            servable, request.model_spec.signature_name, inference.examples_of(request.input)
        ).result()
    elif kind == "multi_inference_log":
        request = record.multi_inference_log.request
        tasks = [
            inference.Task(task.model_spec.signature_name, task.method_name)
            for task in request.tasks
        ]
        inference.multi_inference(servable, tasks, inference.examples_of(request.input)).result()
    else:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
