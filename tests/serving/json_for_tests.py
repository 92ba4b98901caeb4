"""Bodies of REST read into arrays, and what is said of those that are refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfapp.serving.json_parsing import parse_object
from tfapp.serving.json_values import predict_inputs
from tfapp.serving.servable import TensorInfo
from tfapp.serving.status import ServingError

DEEP = 500_000


def inputs(**dtypes: tf.DType) -> dict[str, TensorInfo]:
    return {name: TensorInfo(name, f"{name}:0", dtype, None) for name, dtype in dtypes.items()}


def convert(body: str | bytes, fast: bool = True, **dtypes: tf.DType) -> dict[str, np.ndarray]:
    document = parse_object(body.encode() if isinstance(body, str) else body)
    return predict_inputs(document, inputs(**dtypes), fast=fast).arrays


def refusal(body: str | bytes, **dtypes: tf.DType) -> tuple[str, str]:
    with pytest.raises(ServingError) as found:
        convert(body, **dtypes)
    return found.value.code.name, str(found.value)
