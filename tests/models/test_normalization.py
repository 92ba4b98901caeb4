from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfapp.models import FusedBatchNormalization
from tfapp.models.cnn import CNN
from tfapp.models.convolution import norm

SHAPE = (6, 4, 5, 3)
# A sum of a hundred float32 in two orders, divided by the deviation, is this close.
TOLERANCE = 1e-5


def normal(shape: tuple[int, ...], seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, shape).astype(np.float32)


def built(kind: type, shape: tuple[int, ...] = SHAPE, **options: Any) -> Any:
    """Returns a layer whose four vectors are far from where they start."""
    layer = kind(**options)
    layer.build((None, *shape[1:]))
    for i, weight in enumerate(layer.weights):
        weight.assign(0.5 + np.random.default_rng(i).random(weight.shape))
    return layer


def pair(shape: tuple[int, ...] = SHAPE, **options: Any) -> tuple[Any, Any]:
    return built(FusedBatchNormalization, shape, **options), built(
        keras.layers.BatchNormalization, shape, **options
    )


def step(layer: Any, x: Any, upstream: Any, **call: Any) -> tuple[Any, list[Any]]:
    """Returns outputs, and the gradients of the input and of the trainable vectors."""
    variables = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, **call)
    return outputs, tape.gradient(outputs, [x, *variables], upstream)


def learn(layer: Any, shape: tuple[int, ...] = SHAPE, steps: int = 3, **call: Any) -> list[Any]:
    """Returns all that some steps give: outputs, gradients, and the vectors at the end."""
    seen = []
    for i in range(steps):
        x, upstream = tf.constant(normal(shape, i, mean=i)), tf.constant(normal(shape, 9 + i))
        outputs, gradients = step(layer, x, upstream, **call)
        seen += [outputs, *gradients]
    return [*seen, *(weight.value for weight in layer.weights)]


def assert_close(ours: list[Any], theirs: list[Any], tolerance: float = TOLERANCE) -> None:
    for a, b in zip(ours, theirs, strict=True):
        expected = np.asarray(b)
        scale = max(np.abs(expected).max(initial=0), 1)
        np.testing.assert_allclose(a, expected, rtol=0, atol=tolerance * scale)


def kernels(layer: Any, x: Any, **call: Any) -> list[str]:
    """Returns the type of what goes into the fused kernel, each time that it is called."""
    graph = tf.function(lambda x: layer(x, **call)).get_concrete_function(tf.constant(x)).graph
    found = [found for found in graph.get_operations() if found.type == "FusedBatchNormV3"]
    return [operation.inputs[0].dtype.name for operation in found]


@pytest.mark.parametrize("training", [True, False])
@given(
    shape=st.tuples(*(st.integers(1, 5) for _ in range(4))),
    options=st.fixed_dictionaries(
        {"scale": st.booleans(), "center": st.booleans(), "axis": st.sampled_from([-1, 3])}
    ),
)
@example(shape=(1, 1, 1, 2), options={})  # n / (n - 1) has no value
@example(shape=(2, 1, 1, 1), options={})  # and here it is largest
@settings(max_examples=20, deadline=None)
def test_equals_the_layer_of_keras(training, shape, options):
    fused, ours = pair(shape, momentum=0.7, epsilon=0.01, **options)
    assert_close(learn(fused, shape, training=training), learn(ours, shape, training=training))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("epsilon", [1.001e-5, 1e-3, 0.5])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_follows_momentum_and_epsilon(training: bool, epsilon: float, momentum: float):
    fused, ours = pair(momentum=momentum, epsilon=epsilon)
    assert_close(learn(fused, training=training), learn(ours, training=training))


def test_moving_variance_is_that_of_the_batch_and_not_of_the_population():
    layer = built(FusedBatchNormalization, (2, 1, 1, 1), momentum=0.0)
    layer(tf.constant([3.0, 7.0], shape=(2, 1, 1, 1)), training=True)
    assert [w.numpy().item() for w in layer.weights[2:]] == [5.0, 4.0]


def test_one_pixel_gives_the_offset_and_no_variance():
    layer = built(FusedBatchNormalization, (1, 1, 1, 2), momentum=0.5)
    before = layer.moving_variance.numpy()
    outputs = layer(tf.constant([3.0, -8.0], shape=(1, 1, 1, 2)), training=True)
    np.testing.assert_array_equal(np.ravel(outputs), layer.beta.numpy())
    np.testing.assert_array_equal(layer.moving_variance.numpy(), before / 2)


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "xla"])
def test_a_mean_of_a_thousand_deviations_does_not_cancel(compiled: bool):
    layer = FusedBatchNormalization(momentum=0.0)
    layer.build((None, 8, 8, 2))
    x = normal((16, 8, 8, 2), mean=1000)
    outputs = tf.function(lambda x: layer(x, training=True), jit_compile=compiled)(x)
    exact = x.astype(np.float64)
    mean, variance = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)
    np.testing.assert_allclose(outputs, (exact - mean) / np.sqrt(variance + 1e-3), atol=2e-3)


def test_a_frozen_layer_infers_and_stays():
    fused, ours = pair(trainable=False)
    x = tf.constant(normal(SHAPE))
    before = [weight.numpy() for weight in fused.weights]
    np.testing.assert_allclose(fused(x, training=True), ours(x, training=False), atol=TOLERANCE)
    for weight, value in zip(fused.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16", "float16"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 1, 1)])
def test_images_go_to_the_kernel(dtype: str, training: bool, shape: tuple[int, ...]):
    layer = built(FusedBatchNormalization, shape, dtype=dtype, synchronized=True)
    assert kernels(layer, normal(shape), training=training) == [layer.compute_dtype]


ELSE = {
    "rank 2": ((9, 3), {}, {}),
    "rank 3": ((5, 4, 3), {}, {}),
    "rank 5": ((2, 3, 4, 2, 3), {}, {}),
    "channels first": (SHAPE, {"axis": 1}, {}),
    "mask": (SHAPE, {}, {"mask": normal(SHAPE[:3]) > 0}),
    "renormalization": (SHAPE, {"renorm": True}, {}),
    "float64": (SHAPE, {"dtype": "float64"}, {}),
    "less epsilon than cuDNN takes": (SHAPE, {"epsilon": 1e-5}, {}),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("shape", "options", "call"), ELSE.values(), ids=ELSE)
def test_all_else_is_left_to_keras(training: bool, shape: Any, options: Any, call: Any):
    fused, ours = pair(shape, **options)
    assert kernels(fused, normal(shape), training=training, **call) == []
    x = tf.constant(normal(shape))
    results = [(layer(x, training=training, **call), *layer.weights) for layer in (fused, ours)]
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 8), ("float16", 11)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_half_precision_rounds_once(dtype: str, bits: int, training: bool, mean: float):
    layer = built(FusedBatchNormalization, dtype=f"mixed_{dtype}")
    same = built(keras.layers.BatchNormalization, dtype="float64")
    x, upstream = (tf.cast(normal(SHAPE, i, mean * (1 - i)), dtype) for i in (0, 1))
    outputs, gradients = step(layer, x, upstream, training=training)
    wide = [tf.cast(value, tf.float64) for value in (x, upstream)]
    exact, exact_gradients = step(same, *wide, training=training)
    assert outputs.dtype == gradients[0].dtype == dtype
    for half, double in ((outputs, exact), (gradients[0], exact_gradients[0])):
        np.testing.assert_allclose(tf.cast(half, tf.float64), double, rtol=2.0**-bits, atol=1e-4)
    assert_close(gradients[1:], exact_gradients[1:])
    assert_close([weight.value for weight in layer.weights], [w.value for w in same.weights])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32", "float64"])
@pytest.mark.parametrize("training", [True, False])
def test_inputs_that_keep_their_type_come_out_in_the_layers(dtype: str, training: bool):
    fused, ours = pair(autocast=False)
    x = tf.cast(normal(SHAPE, mean=10), dtype)
    outputs = fused(x, training=training)
    assert outputs.dtype == tf.float32
    assert_close([outputs], [ours(x, training=training)])


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "xla"])
@pytest.mark.parametrize("training", [True, False])
def test_compiled_equals_eager_and_is_traced_once(compiled: bool, training: bool):
    fused, ours = pair()
    run = tf.function(
        lambda x, upstream: step(fused, x, upstream, training=training),
        jit_compile=compiled,
        input_signature=[tf.TensorSpec([None, *SHAPE[1:]])] * 2,
    )
    for i, batch in enumerate([6, 2, 7]):
        x, upstream = (tf.constant(normal((batch, *SHAPE[1:]), seed)) for seed in (i, 9))
        results = [run(x, upstream), step(ours, x, upstream, training=training)]
        assert_close(*([y, *gradients] for y, gradients in results))
    assert_close(fused.get_weights(), ours.get_weights())
    assert run.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "xla"])
def test_steps_in_a_loop_of_the_graph_equal_steps_one_by_one(compiled: bool):
    fused, ours = pair()
    batches = tf.constant(normal((4, *SHAPE), mean=2))

    @tf.function(jit_compile=compiled)
    def loop(batches):
        def body(i, last):
            return i + 1, step(fused, batches[i], last, training=True)[1][0]

        return tf.while_loop(lambda i, _: i < 4, body, (0, tf.ones(SHAPE)), maximum_iterations=4)

    gradient = tf.ones(SHAPE)
    for batch in batches:
        gradient = step(ours, batch, gradient, training=True)[1][0]
    assert_close([loop(batches)[1]], [gradient])
    assert_close(fused.get_weights(), ours.get_weights())


def test_variables_and_config_are_those_of_keras(tmp_path: Path):
    options = {"axis": 3, "synchronized": True, "gamma_regularizer": "l2", "name": "norm"}
    fused, ours = pair(**options)
    assert fused.get_config() == ours.get_config()
    assert [(w.path, w.shape, w.dtype) for w in fused.weights] == [
        (w.path, w.shape, w.dtype) for w in ours.weights
    ]
    again = FusedBatchNormalization.from_config(fused.get_config())
    assert again.get_config() == fused.get_config()
    path = tf.train.Checkpoint(layer=ours).save(tmp_path / "keras")
    again.build(SHAPE)
    tf.train.Checkpoint(layer=again).restore(path).assert_consumed()
    for weight, value in zip(again.weights, ours.weights, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_saved_and_loaded_computes_the_same(tmp_path: Path):
    inputs = keras.Input((None, None, 3))
    layer = FusedBatchNormalization()
    model = keras.Model(inputs, layer(inputs))
    model(normal(SHAPE, mean=3), training=True)
    x = tf.constant(normal((2, 3, 3, 3)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is FusedBatchNormalization
    np.testing.assert_array_equal(loaded(x), model(x))

    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(served.serve(x), model(x), atol=1e-6)


def test_the_networks_for_images_use_it():
    model = CNN(10, filters=[4, 4])
    assert kernels(model, normal((2, 8, 8, 1)), training=True) == ["float32", "float32"]
    config = norm(name="norm", dtype="float32").get_config()
    assert (config["momentum"], config["synchronized"]) == (0.9, True)


SPLITS = {"even": (4, 4), "uneven": (5, 3), "all in one": (8, 0)}
SHAPES = {"image": (8, 4, 5, 3), "row": (8, 3)}
CASES = [*itertools.product(SPLITS, ["image"], [0.0, 1000.0]), ("uneven", "row", 0.0)]


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What this file computes as a program on two devices, and what it prints.

    Devices have to be made before TensorFlow starts, so not in the process of the tests.
    """
    path = tmp_path_factory.mktemp("replicas") / "results.npz"
    command = [sys.executable, __file__, str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(np.load(path)), done.stderr


@pytest.mark.parametrize("case", CASES, ids=str)
def test_two_replicas_compute_what_one_device_does(case: Any, two_replicas: Any):
    _, shape, mean = case
    layer = built(keras.layers.BatchNormalization, SHAPES[shape], dtype="float64")
    x, upstream = (tf.constant(value, tf.float64) for value in batches(SHAPES[shape], mean))
    outputs, gradients = step(layer, x, upstream, training=True)
    expected = [outputs, *gradients, layer.moving_mean.value, layer.moving_variance.value]
    # Of a mean in float32 half a unit in the last place is unknown.
    tolerance = TOLERANCE + 2 * mean * 2**-23
    assert_close([two_replicas[0][f"{case} {i}"] for i in range(6)], expected, tolerance)


def test_two_replicas_train_a_network_as_one_device_does(two_replicas: Any):
    keras.utils.set_random_seed(0)
    model = CNN(3, filters=[4, 4], dense=8, dropout=0.0)
    x = tf.constant(normal((8, 8, 8, 1)))
    update(model, x, x, lambda gradients: gradients)
    found = [two_replicas[0][f"network {i}"] for i in range(len(model.weights))]
    assert_close(found, [weight.value for weight in model.weights])


def test_tensorflow_calls_nothing_of_it_deprecated(two_replicas: Any):
    assert "deprecated" not in two_replicas[1].lower()


def batches(shape: tuple[int, ...], mean: float) -> tuple[np.ndarray, np.ndarray]:
    return normal(shape, 1, mean), normal(shape, 2)


def update(model: Any, x: Any, whole: Any, add: Any) -> None:
    """Takes a step of gradient descent on the sum of squared outputs over the global batch."""
    if not model.built:
        model.build((None, *whole.shape[1:]))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(x, training=True))) / whole.shape[0]
    gradients = add(tape.gradient(loss, [w.value for w in model.trainable_weights]))
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        weight.assign_sub(0.1 * gradient)


def compute_on_two_devices(path: str) -> None:
    """Writes what each case gives on two replicas, in the order of `step`."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results: dict[str, np.ndarray] = {}

    def spread(values: np.ndarray, sizes: tuple[int, int] = (4, 4)) -> Any:
        parts = np.split(values, sizes[:1])
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )

    def add(gradients: list[Any]) -> list[Any]:
        return tf.distribute.get_replica_context().all_reduce("SUM", gradients)

    def gather(values: Any) -> list[np.ndarray]:
        return [part.numpy() for part in strategy.experimental_local_results(values)]

    for case in CASES:
        split, shape, mean = case
        with strategy.scope():
            layer = built(FusedBatchNormalization, SHAPES[shape], synchronized=True)

        def replica(x: Any, upstream: Any, layer: Any = layer) -> Any:
            outputs, (gradient, *rest) = step(layer, x, upstream, training=True)
            return outputs, gradient, *add(rest)

        parts = [spread(values, SPLITS[split]) for values in batches(SHAPES[shape], mean)]
        y, gradient, *rest = tf.function(strategy.run)(replica, parts)
        found = [np.concatenate(gather(y)), np.concatenate(gather(gradient))]
        found += [gather(value)[0] for value in rest]
        found += [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
        results |= {f"{case} {i}": value for i, value in enumerate(found)}

    keras.utils.set_random_seed(0)
    x = normal((8, 8, 8, 1))
    with strategy.scope():
        model = CNN(3, filters=[4, 4], dense=8, dropout=0.0)
        model.build((None, 8, 8, 1))
    tf.function(strategy.run)(update, (model, spread(x), x, add))
    results |= {f"network {i}": w.numpy() for i, w in enumerate(model.weights)}
    for training in (True, False):
        FusedBatchNormalization()(x, training=training)
    np.savez(path, **results)


if __name__ == "__main__":
    compute_on_two_devices(sys.argv[1])
