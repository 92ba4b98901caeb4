from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp import names
from tfapp.config import OptimizerConfig, ScheduleConfig
from tfapp.errors import ExitCode, UsageError
from tfapp.optimizers import LossScaling, averaged_weights, build_optimizer

START = np.array([[3.0, -4.0], [1.0, 2.0]], np.float32)


def build(
    name: str, rate: float = 0.1, schedule: Any = None, precision: str = "float32", **options: Any
) -> Any:
    return build_optimizer(
        OptimizerConfig(name=name, learning_rate=rate, **options),
        ScheduleConfig(**(schedule or {})),
        total_steps=100,
        precision=precision,
    )


def descend(optimizer: Any, gradients: list[np.ndarray], start: np.ndarray = START) -> np.ndarray:
    """The weights after updates with these gradients."""
    weight = keras.Variable(start)
    optimizer.build([weight])
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [weight])
    return weight.numpy()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes `own_optimizers.py` into the working folder; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("own_optimizers", None)

    def write(body: str) -> None:
        (tmp_path / "own_optimizers.py").write_text(f"import keras\n{body}")

    yield write
    sys.modules.pop("own_optimizers", None)


@pytest.mark.parametrize("name", names.OPTIMIZERS)
def test_each_optimizer_goes_down_a_quadratic(name: str):
    optimizer = build(name)
    assert type(optimizer).__name__ == names.OPTIMIZERS[name][0]
    weight = keras.Variable(START)
    optimizer.build([weight])
    values = [float(np.sum(START**2))]
    for _ in range(10):
        optimizer.apply([2 * weight.value], [weight])
        values.append(float(np.sum(weight.numpy() ** 2)))
    assert values[-1] < values[5] < values[0]


@pytest.mark.parametrize("name", names.OPTIMIZERS)
def test_built_by_name_or_by_import_path_the_steps_are_the_same(name: str):
    gradients = [START, START / 2, START / 4]
    by_path = build(f"keras.optimizers:{names.OPTIMIZERS[name][0]}")
    np.testing.assert_array_equal(descend(build(name), gradients), descend(by_path, gradients))


def test_plain_descent_is_its_definition():
    np.testing.assert_allclose(
        descend(build("sgd", 0.25), [START, np.ones_like(START)]), 0.75 * START - 0.25, rtol=1e-6
    )


def test_options_reach_the_optimizer():
    optimizer = build("adam", 0.01, beta_1=0.5, epsilon=1e-3, amsgrad=True, clipvalue=2)
    assert (optimizer.beta_1, optimizer.epsilon, optimizer.amsgrad) == (0.5, 1e-3, True)
    assert optimizer.clipvalue == 2
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


def test_momentum_keeps_going():
    g = np.ones_like(START)
    # v = 0.5 v - 0.1 g, so the three steps are 0.1, 0.15 and 0.175.
    found = descend(build("sgd", momentum=0.5), [g, g, g])
    np.testing.assert_allclose(found, START - 0.425, rtol=1e-5)


def test_first_step_of_adam_is_the_rate_in_the_direction_of_the_sign():
    found = descend(build("adam", 0.02), [7 * START])
    np.testing.assert_allclose(found, START - 0.02 * np.sign(START), rtol=1e-5)


def test_schedule_moves_the_rate():
    optimizer = build("sgd", 0.4, {"name": "polynomial", "warmup_steps": 2, "decay_steps": 4,
                                   "end_learning_rate": 0.0})  # fmt: skip
    g = np.ones_like(START)
    rates = [0.2, 0.4, 0.4, 0.3, 0.2, 0.1, 0.0]
    found = descend(optimizer, [g] * len(rates))
    np.testing.assert_allclose(found, START - sum(rates), rtol=1e-5)


def test_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(UsageError, match=r"warmup_steps is 100, but the run has only 100 steps"):
        build("sgd", schedule={"warmup_steps": 100})


def test_global_clipnorm_scales_all_gradients_alike():
    optimizer = build("sgd", 1.0, global_clipnorm=1.0)
    one, two = keras.Variable([0.0, 0.0]), keras.Variable([0.0])
    optimizer.build([one, two])
    tensor = keras.ops.convert_to_tensor
    optimizer.apply([tensor([3.0, 0.0]), tensor([4.0])], [one, two])  # together of length 5
    np.testing.assert_allclose(one, [-0.6, 0], atol=1e-6)
    np.testing.assert_allclose(two, [-0.8], atol=1e-6)


def test_clipnorm_and_clipvalue_limit_a_gradient():
    length = np.linalg.norm(START)
    found = descend(build("sgd", 1.0, clipnorm=0.5), [START])
    np.testing.assert_allclose(found, START - 0.5 * START / length, rtol=1e-5)
    found = descend(build("sgd", 1.0, clipvalue=1.5), [START])
    np.testing.assert_allclose(found, START - np.clip(START, -1.5, 1.5), rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_shrinks_weights_without_a_gradient(name: str):
    found = descend(build(name, 0.1, weight_decay=0.5), [np.zeros_like(START)] * 2)
    np.testing.assert_allclose(found, START * (1 - 0.1 * 0.5) ** 2, rtol=1e-5)


def test_accumulated_gradients_are_one_step_with_their_mean():
    optimizer = build("sgd", 0.5, gradient_accumulation_steps=2)
    np.testing.assert_allclose(descend(optimizer, [START]), START)
    optimizer = build("sgd", 0.5, gradient_accumulation_steps=2)
    np.testing.assert_allclose(descend(optimizer, [START, 3 * START]), 0 * START, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("sgd", {"momentum": 2.0}, "`momentum` must be"),
        ("adam", {"clipnorm": 1.0, "clipvalue": 1.0}, "Only one of `clipnorm`"),
        ("adam", {"gradient_accumulation_steps": 1}, "integer >= 2"),
        ("adam", {"use_ema": True, "ema_momentum": 3}, "`ema_momentum` must be in the range"),
    ],
)
def test_value_that_keras_refuses_is_told(name: str, options: dict[str, Any], reason: str):
    with pytest.raises(UsageError) as caught:
        build(name, **options)
    assert str(caught.value).startswith(f"train.optimizer {name!r}: ")
    assert reason in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def with_average() -> tuple[Any, keras.Variable, np.ndarray]:
    """An optimizer after two steps, its weight, and what the average must be."""
    optimizer = build("sgd", 1.0, use_ema=True, ema_momentum=0.75)
    weight = keras.Variable(START)
    optimizer.build([weight])
    g = keras.ops.ones_like(weight)
    optimizer.apply([g], [weight])
    optimizer.apply([g], [weight])
    # Keras starts the average at the weight after the first step.
    return optimizer, weight, 0.75 * (START - 1) + 0.25 * (START - 2)


def test_averages_stand_in_for_the_weights_inside_the_block():
    optimizer, weight, average = with_average()
    np.testing.assert_allclose(weight, START - 2, rtol=1e-6)
    with averaged_weights(optimizer, [weight]):
        np.testing.assert_allclose(weight, average, rtol=1e-6)
    np.testing.assert_array_equal(weight, START - 2)


def test_weights_return_also_when_the_block_raises():
    optimizer, weight, average = with_average()
    with pytest.raises(RuntimeError, match="stop"), averaged_weights(optimizer, [weight]):
        np.testing.assert_allclose(weight, average, rtol=1e-6)
        raise RuntimeError("stop")
    np.testing.assert_array_equal(weight, START - 2)


def test_training_goes_on_as_if_the_block_had_not_been():
    weights = []
    for looked in (False, True):
        optimizer, weight, _ = with_average()
        if looked:
            with averaged_weights(optimizer, [weight]):
                pass
        optimizer.apply([keras.ops.ones_like(weight)], [weight])
        with averaged_weights(optimizer, [weight]):
            weights.append((weight.numpy(), START - 3))
        np.testing.assert_array_equal(weight, START - 3)
    np.testing.assert_array_equal(weights[0][0], weights[1][0])


def test_without_averages_the_weights_stay():
    optimizer, weight = build("sgd", 1.0), keras.Variable(START)
    optimizer.build([weight])
    with averaged_weights(optimizer, [weight]):
        np.testing.assert_array_equal(weight, START)


def test_imported_optimizer_gets_rate_and_options(module: Callable[[str], None]):
    module(
        "class Half(keras.optimizers.SGD):\n"
        "    def __init__(self, learning_rate, share=0.5):\n"
        "        super().__init__(learning_rate * share)\n"
        "def make(learning_rate, slow=False):\n"
        "    return keras.optimizers.SGD(learning_rate / (100 if slow else 1))\n"
    )
    assert float(build("own_optimizers:Half", 0.8).learning_rate) == pytest.approx(0.4)
    assert float(build("own_optimizers:Half", 0.8, share=0.25).learning_rate) == pytest.approx(0.2)
    assert float(build("own_optimizers:make", 1.0, slow=True).learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def thing(learning_rate): return 3", "gives a int, expected a keras.optimizers"),
        ("thing = keras.optimizers.SGD()", "not callable"),
        ("def thing(rate): ...", "unexpected keyword argument 'learning_rate'"),
    ],
)
def test_imported_object_that_makes_no_optimizer_is_refused(
    module: Callable[[str], None], body: str, said: str
):
    module(body)
    with pytest.raises(UsageError) as caught:
        build("own_optimizers:thing")
    assert "train.optimizer 'own_optimizers:thing'" in str(caught.value)
    assert said in str(caught.value)


def test_unknown_option_of_an_imported_optimizer_is_told(module: Callable[[str], None]):
    module("class Mine(keras.optimizers.SGD): ...\n")
    with pytest.raises(UsageError, match="nonsense"):
        build("own_optimizers:Mine", nonsense=3)


BAD = [np.full_like(START, np.inf), np.array([[1.0, np.nan], [0.0, 0.0]], np.float32)]


def scaling(
    weight: keras.Variable, scale: float = 8.0, growth: int = 2000, **options: Any
) -> LossScaling:
    """Plain descent at rate 1 behind a loss scale, built for one weight."""
    options = {"learning_rate": 1.0} | options
    optimizer = LossScaling(keras.optimizers.SGD(**options), scale, growth)
    optimizer.build([weight])
    return optimizer


def state_of(optimizer: LossScaling) -> tuple[float, int, int]:
    """Scale, good steps in a row, skipped steps."""
    values = optimizer.dynamic_scale, optimizer.step_counter, optimizer.skipped_steps
    return tuple(float(value.numpy()) for value in values)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_only_float16_needs_its_loss_scaled(precision: str):
    assert type(build("adam", precision=precision)) is keras.optimizers.Adam
    optimizer = build("adam", 0.02, precision="mixed_float16", beta_1=0.5)
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    assert type(optimizer.inner_optimizer) is keras.optimizers.Adam
    assert optimizer.inner_optimizer.beta_1 == 0.5
    assert float(optimizer.learning_rate) == pytest.approx(0.02)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_scaling_of_ones_own_keeps_its_numbers(module: Callable[[str], None], precision: str):
    module(
        "def make(learning_rate):\n"
        "    inner = keras.optimizers.SGD(learning_rate)\n"
        "    return keras.optimizers.LossScaleOptimizer(inner, 64.0, dynamic_growth_steps=7)\n"
    )
    optimizer = build("own_optimizers:make", 0.3, precision=precision)
    assert isinstance(optimizer, LossScaling)
    assert type(optimizer.inner_optimizer) is keras.optimizers.SGD
    assert (optimizer.initial_scale, optimizer.dynamic_growth_steps) == (64.0, 7)


def test_a_fixed_scale_beside_the_dynamic_one_is_refused():
    with pytest.raises(UsageError, match=r"loss_scale_factor does not go with .*Leave it out"):
        build("adam", precision="mixed_float16", loss_scale_factor=8.0)


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5},
        {"clipvalue": 0.5},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"gradient_accumulation_steps": 2},
        {"schedule": {"name": "cosine", "warmup_steps": 2}},
    ],
    ids=str,
)
def test_a_scale_changes_nothing_of_what_an_optimizer_does(options: dict[str, Any]):
    gradients = [START, START / 2, -START, START / 8]
    scaled = [2.0**15 * gradient for gradient in gradients]
    found = descend(build("sgd", precision="mixed_float16", **options), scaled)
    np.testing.assert_array_equal(found, descend(build("sgd", **options), gradients))


@pytest.mark.parametrize("bad", BAD)
def test_a_step_that_overflowed_is_skipped_and_halves_the_scale(bad: np.ndarray):
    weight = keras.Variable(START)
    optimizer = scaling(weight, momentum=0.5)
    optimizer.apply([8 * tf.ones_like(START)], [weight])
    np.testing.assert_array_equal(weight, START - 1)
    assert state_of(optimizer) == (8, 1, 0)
    optimizer.apply([tf.constant(bad)], [weight])
    np.testing.assert_array_equal(weight, START - 1)
    assert state_of(optimizer) == (4, 0, 1)
    assert int(optimizer.iterations) == 1
    optimizer.apply([4 * tf.ones_like(START)], [weight])
    np.testing.assert_array_equal(weight, START - 2.5)  # the momentum is that of two steps


def test_the_scale_doubles_after_so_many_good_steps_in_a_row():
    weight = keras.Variable(START)
    optimizer = scaling(weight, growth=3)
    good, bad = tf.zeros_like(START), tf.constant(BAD[0])
    scales = []
    for gradient in [good, good, bad, good, good, good, good, good, good]:
        optimizer.apply([gradient], [weight])
        scales.append(float(optimizer.dynamic_scale.numpy()))
    assert scales == [8, 8, 4, 4, 4, 8, 8, 8, 16]


def test_the_scale_stays_where_halving_and_doubling_are_undone():
    weight = keras.Variable(START)
    optimizer = scaling(weight, scale=2.0 * LossScaling.LEAST_SCALE, growth=1)
    assert bool(optimizer.can_lower_scale)
    for _ in range(3):
        optimizer.apply([tf.constant(BAD[0])], [weight])
    assert not bool(optimizer.can_lower_scale)
    assert state_of(optimizer) == (LossScaling.LEAST_SCALE, 0, 3)
    for _ in range(50):
        optimizer.apply([tf.zeros_like(START)], [weight])
    assert state_of(optimizer) == (LossScaling.MOST_SCALE, 0, 3)
    np.testing.assert_array_equal(weight, START)


def test_the_schedule_and_adam_count_applied_steps_only():
    schedule = {"name": "polynomial", "decay_steps": 4, "end_learning_rate": 0.0}
    optimizer = build("sgd", 0.4, schedule, "mixed_float16")
    scale = 2.0**15
    ones = np.ones_like(START)
    # Rates 0.4, skipped, 0.3, skipped, 0.2; the scale is halved after each skipped step.
    gradients = [scale * ones, BAD[0], scale / 2 * ones, BAD[1], scale / 4 * ones]
    np.testing.assert_allclose(descend(optimizer, gradients), START - 0.9, rtol=1e-6)
    assert int(optimizer.iterations) == 3
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


def test_averages_are_the_inner_optimizers_and_leave_skipped_steps_out():
    weight = keras.Variable(START)
    optimizer = scaling(weight, use_ema=True, ema_momentum=0.75)
    for gradient in (8 * np.ones_like(START), BAD[0], 4 * np.ones_like(START)):
        optimizer.apply([tf.constant(gradient)], [weight])
    with averaged_weights(optimizer, [weight]):
        np.testing.assert_allclose(weight, 0.75 * (START - 1) + 0.25 * (START - 2), rtol=1e-6)
    np.testing.assert_array_equal(weight, START - 2)


def test_rows_of_an_embedding_and_missing_gradients_are_taken():
    table, unused = keras.Variable(START), keras.Variable([1.0])
    optimizer = LossScaling(keras.optimizers.SGD(1.0), 8.0)
    optimizer.build([table, unused])
    rows = tf.IndexedSlices(8 * tf.ones([1, 2]), tf.constant([1]), tf.constant([2, 2]))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([rows, None], [table, unused])
    np.testing.assert_array_equal(table, START - [[0], [1]])
    bad = tf.IndexedSlices(np.inf * tf.ones([1, 2]), tf.constant([1]), tf.constant([2, 2]))
    optimizer.apply([bad, None], [table, unused])
    assert state_of(optimizer) == (4, 0, 1)


@pytest.mark.parametrize("xla", [False, True])
def test_scaling_works_inside_a_compiled_loop(xla: bool):
    weight = keras.Variable(START)
    optimizer = scaling(weight, growth=2)

    @tf.function(jit_compile=xla)
    def run(gradients: tf.Tensor) -> tf.Tensor:
        step = tf.constant(0)
        while step < len(gradients):
            optimizer.apply([gradients[step]], [weight])
            step += 1
        return step

    one = np.ones_like(START)
    run(tf.stack([8 * one, BAD[0], 4 * one, 4 * one, 8 * one, BAD[1]]))
    np.testing.assert_array_equal(weight, START - 4)
    assert state_of(optimizer) == (4, 0, 2)
