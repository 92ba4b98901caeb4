"""The models that are asked, the requests, and the answers that they must get."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.bench.serving.points import (
    CALLS,
    FEATURES,
    IMAGE_BATCH,
    IMAGE_SHAPE,
    IMAGES,
    MLP,
    ROWS,
    call_request,
)

SEED = 20_261_128
HIDDEN = (256, 128)
CLASSES = 10
ENCODED = "encoded_image"
# Of an answer in float32 to that of NumPy in float64.
TOLERANCE = 1e-5
_DIGITS = 4  # of a number in JSON

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Files:
    """Where everything lies.

    Attributes:
        folder: Of all files.
    """

    folder: Path

    def model(self, name: str) -> Path:
        """Returns the folder of the versions of a model."""
        return self.folder / "models" / name

    def request(self, name: str) -> Path:
        """Returns the file with the body of a request, or with the array of a call."""
        return self.folder / "requests" / name

    def answer(self, name: str) -> Array:
        """Returns what must be answered, `[rows, 10]`."""
        return self._array(self.folder / "answers" / f"{name}.npy")

    def rows(self, name: str) -> Array:
        """Returns the rows of a call."""
        return self._array(self.request(name))

    def weights(self) -> list[Array]:
        """Returns matrix and bias of each layer of the network, in float32."""
        found = np.load(self.folder / "weights.npz")
        return [found[name] for name in found.files]

    def _array(self, path: Path) -> Array:
        with path.open("rb") as file:
            found: Array = np.load(file)
        return found


def is_right(answer: Array, expected: Array) -> bool:
    """Tells whether an answer is that of the model, up to rounding."""
    return answer.shape == expected.shape and bool(
        np.allclose(answer, expected, rtol=TOLERANCE, atol=TOLERANCE)
    )


def write_files(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Exports the models that are needed, and writes requests and answers.

    Args:
        folder: Where to; it is there.
        names: Of the requests.

    Returns:
        The size of each request in bytes.
    """
    files = Files(folder)
    for part in ("models", "requests", "answers"):
        (folder / part).mkdir()
    generator = np.random.default_rng(SEED)
    makers = _mlp_requests(files, generator)
    if any(name.startswith(("images", "png")) for name in names):
        makers |= _image_requests(files, generator)
    for name in names:
        body, answer = makers[name]()
        files.request(name).write_bytes(body)
        np.save(folder / "answers" / f"{name}.npy", answer)
    return {name: files.request(name).stat().st_size for name in names}


_Made = tuple[bytes, Array]


def _mlp_requests(files: Files, generator: np.random.Generator) -> dict[str, Callable[[], _Made]]:
    """Exports the network, and returns who makes its requests."""
    import keras

    keras.utils.set_random_seed(SEED)
    layers = [keras.layers.Dense(width, activation="relu") for width in HIDDEN]
    model = keras.Sequential(
        [keras.Input((FEATURES,), name="features"), *layers, keras.layers.Dense(CLASSES)]
    )
    model.export(str(files.model(MLP) / "1"), verbose=False)
    np.savez(files.folder / "weights.npz", *model.get_weights())
    weights = _exactly(model.get_weights())
    rows = generator.random((ROWS, FEATURES)).round(_DIGITS)

    def json_of(count: int) -> _Made:
        return _json({"instances": rows[:count].tolist()}), forward(weights, rows[:count])

    def proto_of(count: int) -> _Made:
        return _proto(files, MLP, rows[:count]), forward(weights, rows[:count])

    def call_of(count: int) -> _Made:
        return _npy(rows[:count].astype(np.float32)), forward(weights, rows[:count])

    return {
        "row.json": lambda: json_of(1),
        "rows.json": lambda: json_of(ROWS),
        "row.pb": lambda: proto_of(1),
        "rows.pb": lambda: proto_of(ROWS),
        **{call_request(count): lambda n=count: call_of(n) for count in CALLS},  # type: ignore[misc]
    }


def forward(weights: Sequence[Array], rows: Array) -> Array:
    """Returns the outputs of a network of dense layers with relu between them.

    Args:
        weights: Matrix and bias of each layer.
        rows: `[rows, features]`.
    """
    for index in range(0, len(weights), 2):
        rows = rows @ weights[index] + weights[index + 1]
        if index + 2 < len(weights):
            rows = np.maximum(rows, 0)
    return rows


def _image_requests(files: Files, generator: np.random.Generator) -> dict[str, Callable[[], _Made]]:
    """Exports a model of images that computes little, and returns who makes its requests.

    Reading the request is what is to be timed.
    """
    import tensorflow as tf

    kernel, bias = _export_image_model(files.model(IMAGES) / "1")
    coarse = generator.integers(0, 240, (IMAGE_BATCH, 28, 28, 3), np.uint8)
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)
    pixels += generator.integers(0, 16, pixels.shape, np.uint8)  # else PNG would shrink it a lot
    numbers = (pixels / 255).round(_DIGITS)

    def answer(values: Array) -> Array:
        return values.mean(axis=(1, 2)) @ kernel + bias

    def encoded() -> _Made:
        parts = [{"b64": base64.b64encode(tf.io.encode_png(p).numpy()).decode()} for p in pixels]
        return _json({"signature_name": ENCODED, "instances": parts}), answer(pixels / 255)

    return {
        "images.json": lambda: (_json({"instances": numbers.tolist()}), answer(numbers)),
        "png.json": encoded,
        "images.pb": lambda: (_proto(files, IMAGES, numbers), answer(numbers)),
    }


def _export_image_model(path: Path) -> tuple[Array, Array]:
    """Exports the mean of each channel, then a dense layer; returns that layer's weights."""
    import keras
    import tensorflow as tf

    model = keras.Sequential(
        [
            keras.Input(IMAGE_SHAPE, name="images"),
            keras.layers.AveragePooling2D(16),  # the mean of so many at once would be coarse
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES),
        ]
    )

    def decode(file: Any) -> Any:
        image = tf.io.decode_png(file, channels=IMAGE_SHAPE[-1])
        return tf.ensure_shape(tf.cast(image, tf.float32) / 255, IMAGE_SHAPE)

    def encoded(encoded_images: Any) -> Any:
        return model(tf.map_fn(decode, encoded_images, fn_output_signature=tf.float32))

    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = tf.TensorSpec((None, *IMAGE_SHAPE), tf.float32, name="images")
    archive.add_endpoint("serve", model.__call__, input_signature=[spec])
    files = tf.TensorSpec((None,), tf.string, name="encoded_images")
    archive.add_endpoint(ENCODED, encoded, input_signature=[files])
    archive.write_out(str(path), verbose=False)
    kernel, bias = _exactly(model.get_weights())
    return kernel, bias


def _exactly(weights: Sequence[Array]) -> list[Array]:
    """Returns weights in float64, in which rounding does not matter here."""
    return [weight.astype(np.float64) for weight in weights]


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _proto(files: Files, model: str, rows: Array) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    loaded = tf.saved_model.load(str(files.model(model) / "1"))
    (name,) = loaded.signatures["serving_default"].structured_input_signature[1]
    request.inputs[name].CopyFrom(tf.make_tensor_proto(rows.astype(np.float32)))
    body: bytes = request.SerializeToString()
    return body
