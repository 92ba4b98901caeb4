"""A model behind a server, known by what its metadata tells.

K is the number of classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from tfapp.data.splits import Column, DataInfo
from tfapp.errors import DataError
from tfapp.prediction.model import Model
from tfapp.prediction.reading import Array, ArrayReading, InputReading, Reading
from tfapp.serving.client import NotServed, ServedModel, SignatureInfo, Unreachable, connect
from tfapp.serving.status import Code, ServingError

_ROWS = 256
# JSON writes about ten bytes a number, so that a request has no more than 10 MB.
_VALUES = 1_000_000
# What a server that batches says of a request with more rows than it takes.
_TOO_MANY = re.compile(r"larger than maximum input batch size (\d+)")


def served_model(url: str) -> Model:
    """Finds out what the model at a URL takes and gives.

    Class names come from its `classify` signature, as tfapp exports one; without it, classes are
    called by their numbers.

    Raises:
        ServingError: The server refuses, or there is none.
        DataError: Its signature is not one of examples to classes, or to one number each.
    """
    served = connect(url)
    try:
        return _model(served)
    except BaseException:
        served.close()
        raise


def _model(served: ServedModel) -> Model:
    signature = served.signature()
    reading, inputs = _reading(served.url, signature)
    output = _output(served.url, signature)
    blank = _blank(reading.info)
    answer = served.predict(inputs(blank), outputs=[output])[output]
    info = reading.info
    if answer.ndim == 2 and answer.shape[1] > 1:
        names = _class_names(served, inputs(blank), answer)
        info = replace(info, task="classification", classes=names)
    elif answer.shape not in ((1,), (1, 1)):
        raise DataError(
            f"{served.url} answers {list(answer.shape)} values to one example in {output!r};"
            f" tfapp predict shows classes, or one number each. {_from_python(served.url)}"
        )

    def ask(features: Array) -> Array:
        try:
            return served.predict(inputs(features), outputs=[output])[output]
        except ServingError as error:
            most = _TOO_MANY.search(str(error))
            if most is None or not 0 < int(most[1]) < len(features):
                raise
            starts = range(0, len(features), int(most[1]))
            return np.concatenate([ask(features[i : i + int(most[1])]) for i in starts])

    def call(features: Array) -> Mapping[str, Array]:
        values = ask(features)
        if info.classes:
            return _probabilities(values, output, served.url)
        return {"value": values.reshape(-1)}

    rows = max(1, min(_ROWS, _VALUES // max(1, prod(info.feature_shape))))
    return Model(served.url, replace(reading, info=info), rows, call, served.close)


def _reading(
    url: str, signature: SignatureInfo
) -> tuple[Reading, Callable[[Array], dict[str, Array]]]:
    """Returns how examples are read, and how raw features become inputs."""
    shapes = {name: tensor.shape for name, tensor in signature.inputs.items()}
    if all(shape is not None and len(shape) == 1 for shape in shapes.values()):
        texts = {name: t.dtype == "string" for name, t in signature.inputs.items()}
        columns = tuple(Column(name, () if text else None) for name, text in texts.items())
        kept = "object" if any(texts.values()) else "float64"
        info = _info(url, (len(columns),), kept, columns)
        types = [object if text else np.float64 for text in texts.values()]
        return InputReading(info), lambda features: {
            name: features[:, n].astype(types[n]) for n, name in enumerate(texts)
        }
    (name, shape), *more = shapes.items()
    dtype = signature.inputs[name].dtype
    if more or shape is None or None in shape[1:] or dtype == "string":
        raise DataError(
            f"{url} takes {', '.join(f'{n} {t}' for n, t in signature.inputs.items())}; tfapp"
            f" predict reads one array of a known shape, or columns. {_from_python(url)}"
        )
    raw = dtype if dtype in ("uint8", "float32") else "float64"
    sizes = tuple(size for size in shape[1:] if size is not None)
    # Whether its images were resized is not told; those of its size stay as they are.
    resized = (sizes[0], sizes[1]) if len(sizes) == 3 else None
    return ArrayReading(_info(url, sizes, raw, None), resized), lambda features: {name: features}


def _info(
    url: str, shape: tuple[int, ...], dtype: str, columns: tuple[Column, ...] | None
) -> DataInfo:
    return DataInfo(url, "regression", shape, dtype, (), columns, fingerprint="")


def _output(url: str, signature: SignatureInfo) -> str:
    """Returns the output that is shown: by its name in tfapp's exports, or the only one."""
    for name in ("probabilities", "value"):
        if name in signature.outputs:
            return name
    if len(signature.outputs) == 1:
        return next(iter(signature.outputs))
    raise DataError(
        f"{url} gives {', '.join(signature.outputs)}; tfapp predict shows probabilities, value, or"
        f" the only output. {_from_python(url)}"
    )


def _blank(info: DataInfo) -> Array:
    """Returns one example of zeros and empty texts."""
    if info.feature_dtype != "object":
        return np.zeros([1, *info.feature_shape], info.feature_dtype)
    cells = ["" if column.vocabulary == () else 0.0 for column in info.columns or ()]
    return np.array([cells], object)


def _class_names(
    served: ServedModel, inputs: Mapping[str, Array], scores: Array
) -> tuple[str, ...]:
    """Returns the names that `classify` gives to the K classes, if it says the same of them."""
    numbers = tuple(map(str, range(scores.shape[1])))
    if "classify" not in served.metadata().signatures:
        return numbers
    example: dict[str, Any] = {name: values[0] for name, values in inputs.items()}
    try:
        (found,) = served.classify([example], signature_name="classify")
    except (NotServed, Unreachable):
        raise
    except ServingError as error:
        if error.code not in (Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.UNKNOWN):
            raise
        return numbers  # its examples have other features
    names = tuple(label for label, _ in found)
    same = len(set(names)) == len(numbers) == len(names) and np.allclose(
        [score for _, score in found], scores[0], atol=1e-3
    )
    return names if same else numbers


def _probabilities(values: Array, output: str, url: str) -> dict[str, Array]:
    # bfloat16 keeps 8 bits of each of the terms, hence the width of the tolerance.
    if np.all(values >= 0) and np.allclose(values.sum(axis=-1), 1.0, atol=2e-2):
        return {"probabilities": values}
    raise DataError(
        f"{output!r} of {url} is not probabilities: the values of an example do not add up to 1."
        f" {_from_python(url)}"
    )


def _from_python(url: str) -> str:
    return f"Ask it from Python: tfapp.serving.client.connect({url!r}).predict(...)."
