from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.data.preprocess import Preprocess
from tfapp.data.splits import DataInfo
from tfapp.errors import Diverged, ExitCode, Interrupted
from tfapp.evaluation import evaluate_run
from tfapp.losses import TaskLoss
from tfapp.metrics import build_metrics
from tfapp.models.predictor import Predictor
from tfapp.models.raw_mlp import RawMLP
from tfapp.optimizers import LossScaling
from tfapp.outputs import Outputs
from tfapp.runs import Run, summarize_run
from tfapp.training.checkpoints import Checkpoints
from tfapp.training.diagnosis import first_bad_tensor
from tfapp.training.restore import load_trained
from tfapp.training.resume import resume_training
from tfapp.training.samples import read_samples
from tfapp.training.tape import TapeStep
from tfapp.training.train import train_model
from tfapp.training.writers import Writer

pytestmark = pytest.mark.usefixtures("read_back_here")

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(12, 5)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % 3
TARGETS = np.eye(3, dtype=np.float32)[LABELS]
INFO = DataInfo("made", "classification", (5,), "float32", ("a", "b", "c"), None, "")
HEAD = Outputs("logits", 3)
# Float16 keeps 11 bits.
ROUNDING = 2.0**-11


def make_step(optimizer, size=1.0, dtype="mixed_float16", model=None) -> TapeStep:
    """Least squares with `size` times the usual loss."""

    def squares(labels, outputs, _):
        return size * tf.reduce_mean((tf.one_hot(labels, 3) - outputs) ** 2)

    model = model or RawMLP((5,), 3, hidden=(4,), seed=0, dtype=dtype)
    predictor = Predictor(Preprocess((5,), None, None), model, INFO, HEAD)
    loss = TaskLoss("squares", squares)
    return TapeStep(predictor, loss, optimizer, build_metrics(["auto"], INFO, HEAD))


def take(step: TapeStep, features=FEATURES, times: int = 1) -> list[bool]:
    return [bool(step(tf.constant(features), tf.constant(LABELS))) for _ in range(times)]


def weights_of(step: TapeStep) -> list[np.ndarray]:
    return [v.numpy() for v in step.predictor.model.trainable_variables]


def gradients_by_hand(step: TapeStep) -> list[np.ndarray]:
    """Of the mean squared error in float64, in the order of the model's variables."""
    model = step.predictor.model
    w0, w1 = (v.numpy().astype(float) for v in model.weights)
    b0, b1 = (v.numpy().astype(float) for v in model.biases)
    hidden = np.maximum(FEATURES @ w0 + b0, 0)
    error = 2 * (hidden @ w1 + b1 - TARGETS) / TARGETS.size
    back = (error @ w1.T) * (hidden > 0)
    return [back.sum(0), error.sum(0), FEATURES.T @ back, hidden.T @ error]


@pytest.mark.parametrize(("size", "scale"), [(1.0, 2.0**15), (2.0**-26, 2.0**24)])
def test_scaled_steps_are_those_of_float32_up_to_rounding(size, scale):
    step = make_step(LossScaling(keras.optimizers.SGD(0.1 / size), scale), size)
    before, gradients = weights_of(step), gradients_by_hand(step)
    assert take(step) == [True]
    for old, new, gradient in zip(before, weights_of(step), gradients, strict=True):
        # A gradient is a sum of 12 products of rounded factors.
        np.testing.assert_allclose(
            (old - new) / 0.1, gradient, rtol=0, atol=8 * ROUNDING * np.abs(gradient).max()
        )


def test_without_a_scale_small_gradients_vanish():
    step = make_step(keras.optimizers.SGD(0.1 * 2.0**26), 2.0**-26)
    before = weights_of(step)
    take(step)
    first_bias, _, first_weight, _ = (
        np.array_equal(old, new) for old, new in zip(before, weights_of(step), strict=True)
    )
    assert first_bias and first_weight, "the hidden layer learned nothing"


def test_many_steps_end_near_those_of_float32():
    mixed = make_step(LossScaling(keras.optimizers.SGD(0.1)))
    full = make_step(keras.optimizers.SGD(0.1), dtype="float32")
    start = weights_of(full)
    take(mixed, times=30)
    take(full, times=30)
    for begin, found, wanted in zip(start, weights_of(mixed), weights_of(full), strict=True):
        path = np.abs(wanted - begin).max()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=16 * ROUNDING * path)


def test_a_fixed_scale_of_keras_is_taken_out_again():
    scaled = make_step(keras.optimizers.SGD(0.1, loss_scale_factor=1024.0), dtype="float32")
    plain = make_step(keras.optimizers.SGD(0.1), dtype="float32")
    take(scaled, times=3)
    take(plain, times=3)
    for a, b in zip(weights_of(scaled), weights_of(plain), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_overflow_skips_steps_until_the_scale_fits():
    optimizer = LossScaling(keras.optimizers.SGD(0.1), 2.0**30)
    step = make_step(optimizer)
    start = weights_of(step)
    skipped = 0
    while int(optimizer.iterations) == 0:
        skipped = int(optimizer.skipped_steps.numpy())
        assert all(np.array_equal(a, b) for a, b in zip(start, weights_of(step), strict=True))
        assert take(step) == [True]
    assert skipped >= 5
    assert step.scalars() == {
        "learning_rate": pytest.approx(0.1),
        "loss_scale": 2.0 ** (30 - skipped),
        "skipped_steps": skipped,
    }
    assert step.metrics.result()["loss"] > 0, "the loss of a skipped step was as good as any"


def test_a_loss_that_is_not_finite_is_no_matter_of_the_scale():
    optimizer = LossScaling(keras.optimizers.SGD(0.1))
    step = make_step(optimizer)
    start = weights_of(step)
    assert take(step, FEATURES * np.inf) == [False]
    assert all(np.array_equal(a, b) for a, b in zip(start, weights_of(step), strict=True))
    assert step.scalars() == {
        "learning_rate": pytest.approx(0.1),
        "loss_scale": 2.0**15,
        "skipped_steps": 0,
    }


def test_gradients_that_overflow_at_the_least_scale_are_the_end():
    class Root(keras.Model):
        """sqrt has an infinite gradient at 0, where its value is finite."""

        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.hidden = keras.layers.Dense(
                4, kernel_initializer="zeros", name="flat", dtype=self.dtype_policy
            )
            self.out = keras.layers.Dense(3, dtype="float32")

        def call(self, x, training=False):
            return self.out(tf.sqrt(self.hidden(x)))

    model = Root()
    model(tf.zeros([1, 5]))
    optimizer = LossScaling(keras.optimizers.SGD(0.1), 4 * LossScaling.LEAST_SCALE)
    step = make_step(optimizer, model=model)
    assert take(step, times=4) == [True, True, False, False]
    assert int(optimizer.skipped_steps.numpy()) == 2
    assert int(optimizer.iterations) == 0
    found = first_bad_tensor(step, tf.constant(FEATURES), tf.constant(LABELS))
    assert found.startswith("the gradient of") and "flat" in found


def test_a_scale_below_one_holds_gradients_larger_than_float16():
    size = 2.0**26
    optimizer = LossScaling(keras.optimizers.SGD(0.1 / size), 1.0)
    step = make_step(optimizer, size)
    gradients, before = gradients_by_hand(step), weights_of(step)
    while int(optimizer.iterations) == 0:
        assert take(step) == [True]
    assert float(optimizer.dynamic_scale.numpy()) < 1
    for old, new, gradient in zip(before, weights_of(step), gradients, strict=True):
        np.testing.assert_allclose(
            (old - new) / 0.1, gradient, rtol=0, atol=8 * ROUNDING * np.abs(gradient).max()
        )


# What follows trains whole runs. 108 training examples: 9 steps an epoch.
IRIS = {
    "data.source": "iris",
    "data.batch_size": 12,
    "model.options": {"hidden": [8], "dropout": 0.2},
    "train.epochs": 4,
    "train.precision": "mixed_float16",
    "train.loop": "streaming",
}


def config_of(**more):
    return load_config(overrides=IRIS | more)


@pytest.fixture
def own_scaling(tmp_path, monkeypatch):
    """An optimizer of one's own whose scale halves at first and doubles every third step."""
    (tmp_path / "own_scaling.py").write_text(
        "import keras\n"
        "def make(learning_rate):\n"
        "    inner = keras.optimizers.AdamW(\n"
        "        learning_rate, weight_decay=0.01, global_clipnorm=1.0, use_ema=True,\n"
        "        ema_momentum=0.9,\n"
        "    )\n"
        "    return keras.optimizers.LossScaleOptimizer(inner, 2.0**22, dynamic_growth_steps=3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return {
        "train.optimizer": {"name": "own_scaling:make", "learning_rate": 0.02},
        "train.schedule": {"name": "cosine", "warmup_steps": 5},
    }


def variables_of(run, step):
    """Every tensor of a checkpoint by the path of its variable."""
    folder = Checkpoints(run.checkpoints).path(step)
    reader = tf.train.load_checkpoint(str(folder / "variables"))
    listed = json.loads((folder / "state.json").read_text())["variables"]
    return {
        f"{part}/{number}/{path}": reader.get_tensor(
            f"{part}/{number:04d}/.ATTRIBUTES/VARIABLE_VALUE"
        )
        for part, variables in listed.items()
        for number, (path, _, _) in enumerate(variables)
    }


@pytest.mark.parametrize("loop", ["eager", "streaming", "streaming_xla", "resident"])
def test_every_loop_skips_grows_and_learns(tmp_path, own_scaling, loop):
    result = train_model(config_of(**own_scaling, **{"train.loop": loop}), runs=tmp_path)
    run = Run(result.path)
    assert run.config().train.loop == loop
    rows = [row for row in run.metrics() if row["split"] == "train"]
    skipped = [row["skipped_steps"] for row in rows]
    assert 0 < skipped[0] <= skipped[-1] < 36
    state = variables_of(run, 36)
    [_, applied] = [v for key, v in state.items() if key.endswith("/iteration")]  # inner's last
    assert (result.step, applied) == (36, 36 - skipped[-1])
    # 22 - skipped + doublings is the exponent; each doubling takes three steps of those applied.
    doublings = np.log2(rows[-1]["loss_scale"]) - 22 + skipped[-1]
    assert doublings == int(doublings)
    assert 1 <= doublings <= applied / 3
    assert rows[-1]["loss"] < rows[0]["loss"]


class StopAfter(Writer):
    """Asks for a stop once a step is reached."""

    def __init__(self, step):
        self.step, self.reached = step, 0

    def __call__(self):
        return ExitCode.INTERRUPTED if self.reached >= self.step else None

    def progress(self, progress):
        self.reached = progress.step


@pytest.mark.parametrize("stop_at", [3, 13])
def test_a_stopped_run_continues_to_the_same_bits(tmp_path, own_scaling, stop_at):
    config = config_of(**own_scaling, **{"train.checkpoint.every_steps": stop_at})
    whole = train_model(config, runs=tmp_path, name="whole")
    stop = StopAfter(stop_at)
    with pytest.raises(Interrupted):
        train_model(config, runs=tmp_path, name="cut", writers=[stop], stop=stop)
    resumed = resume_training(tmp_path / "cut")
    assert resumed.validation == whole.validation
    before, after = (variables_of(Run(r.path), 36) for r in (whole, resumed))
    assert any("dynamic_scale" in key for key in before)
    assert any("skipped_steps" in key for key in before)
    for (a, first), (b, second) in zip(before.items(), after.items(), strict=True):
        np.testing.assert_array_equal(first, second, err_msg=f"{a} {b}")


def test_what_is_loaded_are_the_averages_of_the_inner_optimizer(tmp_path, own_scaling):
    result = train_model(config_of(**own_scaling), runs=tmp_path)
    stored = variables_of(Run(result.path), 36)
    averages = [value for key, value in stored.items() if key.endswith("_average")]
    trained = load_trained(Run(result.path), step=36)
    for variable, average in zip(
        trained.predictor.model.trainable_variables, averages, strict=True
    ):
        np.testing.assert_array_equal(variable.numpy(), average)
    found = evaluate_run(result.path, split="validation", step=36)
    assert found.metrics["loss"] == pytest.approx(result.validation["loss"], rel=1e-3)


@pytest.fixture
def half_models(tmp_path, monkeypatch):
    (tmp_path / "half_models.py").write_text(
        "import keras, tensorflow as tf\n"
        "class Root(keras.Model):\n"
        "    def __init__(self, outputs):\n"
        "        super().__init__()\n"
        "        self.flat = keras.layers.Dense(4, kernel_initializer='zeros', name='flat')\n"
        "        self.out = keras.layers.Dense(outputs, dtype='float32')\n"
        "    def call(self, x, training=False):\n"
        "        return self.out(tf.sqrt(self.flat(x)))\n"
        "class Pooled(keras.Model):\n"
        "    def __init__(self, outputs):\n"
        "        super().__init__()\n"
        "        self.pool = keras.layers.MaxPool3D(2)\n"
        "        self.out = keras.layers.Dense(outputs, dtype='float32')\n"
        "    def call(self, x, training=False):\n"
        "        cube = keras.ops.reshape(x, (-1, 4, 4, 4, 1))\n"
        "        return self.out(keras.ops.reshape(self.pool(cube), (-1, 8)))\n"
        "class Active(keras.Model):\n"
        "    def __init__(self, outputs):\n"
        "        super().__init__()\n"
        "        self.hidden = keras.layers.Dense(8, 'relu', activity_regularizer='l2')\n"
        "        self.out = keras.layers.Dense(outputs, dtype='float32')\n"
        "    def call(self, x, training=False):\n"
        "        return self.out(self.hidden(x))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_run_whose_gradients_fit_no_scale_diverges(tmp_path, half_models):
    config = config_of(**{"model.name": "half_models:Root", "model.options": {}})
    # From 2^15 to 2^-14 are 29 halvings.
    with pytest.raises(Diverged, match=r"step 30: the gradient of .*flat.* is not finite"):
        train_model(config, runs=tmp_path, name="root")
    assert summarize_run(Run(tmp_path / "root")).state == "diverged"


def test_a_loss_on_what_a_layer_gives_out_is_added_in_float32(tmp_path, half_models):
    config = config_of(**{"model.name": "half_models:Active", "model.options": {}})
    run = Run(train_model(config, runs=tmp_path).path)
    losses = [row["loss"] for row in run.metrics() if row["split"] == "train"]
    assert losses[-1] < losses[0]


def test_from_training_to_a_saved_model_on_the_command_line(cli, tmp_path):
    told = cli(
        "train", "--data", "digits", "--epochs", "3", "--quiet",
        *("--set", "train.precision=mixed_float16"),
    )  # fmt: skip
    assert told.code == 0, told.err
    assert Run(tmp_path / "runs" / "latest").config().train.precision == "mixed_float16"
    assert cli("evaluate", "runs/latest").code == 0
    assert cli("predict", "runs/latest", "runs/latest/samples.npz").code == 0
    assert cli("export", "runs/latest").code == 0
    exported = tf.saved_model.load(str(tmp_path / "saved_models" / "digits-mlp" / "1"))
    samples = read_samples(Run(tmp_path / "runs" / "latest"))
    serve = exported.signatures["serving_default"]
    [name] = serve.structured_input_signature[1]
    found = serve(**{name: tf.constant(samples.features)})
    assert found["probabilities"].dtype == tf.float32
    assert np.mean(found["class_id"].numpy() == samples.labels) > 0.8


def test_a_typing_mistake_is_told_with_the_nearest_name(cli):
    told = cli("train", "--set", "train.precision=mixed_flaot16")
    assert told.code == ExitCode.USAGE
    assert "found 'mixed_flaot16'. Did you mean 'mixed_float16'?" in told.err


def test_an_operation_that_has_no_float16_is_told_in_one_line(cli, half_models):
    told = cli(
        "train", "--data", "digits", "--model", "half_models:Pooled",
        *("--set", "train.precision=mixed_float16"),
    )  # fmt: skip
    assert told.code == ExitCode.USAGE
    assert len(told.err.splitlines()) == 1
    assert "TensorFlow has no MaxPool3D in float16 on this device; use train.precision" in told.err
