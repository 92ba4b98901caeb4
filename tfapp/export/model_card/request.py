"""A request to TensorFlow Serving that can be typed, and what the model answers to it."""

from __future__ import annotations

import json
import shlex
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from tfapp.export.model_card.facts import Export
from tfapp.export.model_card.markdown import code
from tfapp.export.signatures import PREDICT
from tfapp.exported import named_inputs
from tfapp.models.predictor import Predictor

_LONGEST = 200  # characters of an array that is written out
_MOST_NUMBERS = 20  # of an answer that is written out


def signature_rows(export: Export) -> list[list[object]]:
    """Returns what each input and output is called, and its shape and type."""
    sides = (("input", export.model.inputs), ("output", export.model.outputs))
    return [[side, code(name), code(spec)] for side, specs in sides for name, spec in specs.items()]


def other_signatures(export: Export) -> str:
    """Returns in Markdown what else can be called; empty where there is nothing."""
    told = {
        "classify": "takes serialized `tf.train.Example`s, and gives `classes` and `scores`",
        "regress": "takes serialized `tf.train.Example`s, and gives `outputs`",
        "encoded_image": "takes the bytes of image files as `image_bytes`",
    }
    own = "is a function of the model's own"
    return "; ".join(
        f"{code(name)}, which {told.get(name, own)}"
        for name in export.model.signatures
        if name not in PREDICT
    )


def request_lines(export: Export) -> list[str]:
    """Returns the commands that ask for one example.

    It is nobody's: its numbers are what preprocessing takes off the columns, or zeros, and its
    texts the first ones that are known. No example of the data gets onto the card.
    """
    predictor = export.trained.predictor
    body = json.dumps({"instances": [_instance(predictor)]}, ensure_ascii=False)
    address = f"http://localhost:8501/v1/models/{quote(export.model.name, safe='')}:predict"
    if len(body) <= _LONGEST or predictor.info.columns:
        return [f"curl -d {shlex.quote(body)} {address}"]
    zero = "0" if predictor.info.feature_dtype == "uint8" else "0.0"
    for size in reversed(predictor.info.feature_shape):
        zero = f"[{zero}] * {size}"
    program = f'import json; print(json.dumps({{"instances": [{zero}]}}))'
    return [f"python3 -c '{program}' > request.json", f"curl -d @request.json {address}"]


def answer(export: Export) -> str | None:
    """Returns what the model answers, shortened to four digits; `None` if that is long."""
    predictor = export.trained.predictor
    outputs = predictor(_example(predictor))
    named = {name: _plain(values[0].numpy()) for name, values in outputs.items()}
    if any(isinstance(value, list) and len(value) > _MOST_NUMBERS for value in named.values()):
        return None
    (first, *others) = named.values()
    return json.dumps({"predictions": [named if others else first]})


def _example(predictor: Predictor) -> npt.NDArray[Any]:
    """Returns one raw example, `[1, *feature_shape]`, as the model takes it."""
    info = predictor.info
    example: npt.NDArray[Any] = np.zeros([1, *info.feature_shape], info.feature_dtype)
    middle = predictor.preprocess.config()["subtract"]
    for place, column in enumerate(info.columns or ()):
        if column.vocabulary is not None:
            example[0, place] = 1 if column.vocabulary else 0
        elif middle is not None:
            example[0, place] = _short(middle[place])
    return example


def _instance(predictor: Predictor) -> Any:
    """Returns the same as JSON takes it: nested lists, or values by the names of the inputs."""
    inputs = named_inputs(predictor.info, _example(predictor))
    values = {name: _plain(tensor.numpy()[0]) for name, tensor in inputs.items()}
    return values if len(values) > 1 else next(iter(values.values()))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    array = np.asarray(value)
    if array.dtype.kind in "iu":
        return array.tolist()
    return np.vectorize(_short, otypes=[np.float64])(array).tolist()


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")
