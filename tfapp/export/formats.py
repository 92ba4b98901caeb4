"""Other formats beside a SavedModel, each read back and compared.

model.keras     the Keras model alone, over scaled features, to go on training with
model.tflite    `serving_default` for LiteRT, raw features
model.onnx      `serving_default` for ONNX Runtime and its like, raw features
"""

from __future__ import annotations

import errno
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import keras
import tensorflow as tf

from tfapp.errors import ExportError, MissingError, UsageError, reason_of
from tfapp.export.onnx_format import NEEDED, write_onnx
from tfapp.export.signatures import ServingModule
from tfapp.export.verification import Check, worst_difference
from tfapp.models.predictor import Predictor
from tfapp.names import missing_extra


def check_formats(formats: Sequence[str], precision: str) -> None:
    """Finds out, before anything is written, whether a model can be had in other formats.

    Args:
        formats: Names in `FORMATS`.
        precision: Keras dtype policy that the layers compute in.

    Raises:
        UsageError: One of them cannot hold a model of this precision.
        MissingError: The packages that write it are not installed.
    """
    if "tflite" in formats and precision != "float32":
        raise UsageError(
            f"LiteRT has no kernels in 16 bits, and the model would compute in {precision}. Export"
            " it once more for --format tflite, with --precision float32."
        )
    if "onnx" in formats and precision == "mixed_bfloat16":
        raise UsageError(
            "tf2onnx writes layers in bfloat16 partly as float16, which nothing can run. Export"
            " the model once more for --format onnx, with --precision float32 or mixed_float16."
        )
    if "onnx" in formats:
        for module in NEEDED:
            if missing := missing_extra(module, "onnx"):
                raise MissingError(f"--format onnx needs {module}, which is {missing}")


def write_format(name: str, folder: Path, module: ServingModule, check: Check) -> float:
    """Writes a model in another format into the folder of its SavedModel.

    Args:
        name: `keras`, `tflite` or `onnx`.
        folder: The SavedModel.
        module: What is exported.
        check: Real rows and the live model's answers.

    Returns:
        The largest difference from the live model, relative to the largest output or to 1.

    Raises:
        ExportError: The model cannot be written in this format, or not be read back.
        OSError: The disk refused.
        OpError: Likewise, told by TensorFlow.
    """
    try:
        return FORMATS[name](folder, module, check)
    except ExportError:
        raise
    except Exception as error:  # converters raise whatever their parts raise
        if _is_of_the_system(error):
            raise
        raise ExportError(
            f"the model cannot be written as {name}: {shorten(reason_of(error), 200)}. Leave"
            f" --format {name} out."
        ) from error


def _is_of_the_system(error: Exception) -> bool:
    """Tells whether it is nothing about the model: a full disk refuses any format."""
    if isinstance(error, tf.errors.ResourceExhaustedError):  # of memory, too
        return os.strerror(errno.ENOSPC) in str(error)
    return isinstance(error, OSError) and error.errno is not None


def _write_keras(folder: Path, module: ServingModule, check: Check) -> float:
    predictor = module.predictor
    model = predictor.model
    if not isinstance(model, keras.Model):
        raise ExportError(
            f"the model is a {type(model).__name__}, no keras.Model, so there is no .keras file of"
            " it. Leave --format keras out."
        )
    file = folder / "model.keras"
    _save_keras(model, file)
    kind = type(model)
    loaded = keras.models.load_model(file, custom_objects={kind.__name__: kind}, compile=False)
    again = Predictor(predictor.preprocess, loaded, predictor.info, predictor.head)
    answers = again(module.features(*map(tf.constant, check.inputs.values())))
    return worst_difference(check.outputs, answers)


def _save_keras(model: keras.Model, file: Path) -> None:
    try:
        model.save(file)
    except NotImplementedError as error:
        if "get_config" not in str(error):
            raise
        named = re.search(r"Object (\w+) was created", str(error))
        raise ExportError(
            f"the model cannot be written as keras: {named[1] if named else type(model).__name__}"
            " has no get_config(), which tells Keras the arguments that it is made with. Write one"
            " into the class, or leave --format keras out."
        ) from error


def _write_tflite(folder: Path, module: ServingModule, check: Check) -> float:
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder), signature_keys=["serving_default"], tags={"serve"}
    )
    file = folder / "model.tflite"
    file.write_bytes(converter.convert())
    with warnings.catch_warnings():
        # It is to move to a package of its own, which TensorFlow's wheel does not need yet.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = tf.lite.Interpreter(model_path=str(file))
    answers = interpreter.get_signature_runner("serving_default")(**check.inputs)
    return worst_difference(check.outputs, answers)


FORMATS: Mapping[str, Callable[[Path, ServingModule, Check], float]] = {
    "keras": _write_keras,
    "tflite": _write_tflite,
    "onnx": write_onnx,
}
