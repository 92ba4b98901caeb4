"""A model that was compiled trains as its `compile()` says, where the config says nothing else."""

from __future__ import annotations

import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.errors import ExitCode, Interrupted, UsageError
from tfapp.evaluation import evaluate_run
from tfapp.optimizers import LossScaling
from tfapp.runs import Run
from tfapp.settings import data_folder
from tfapp.training.assembly import assemble
from tfapp.training.resume import resume_training
from tfapp.training.tape import TapeStep
from tfapp.training.train import train_model
from tfapp.training.writers import Writer

OWN = """
    import keras
    import keras_tuner

    def network(width, activation=None):
        return keras.Sequential(
            [keras.layers.Dense(8, "relu"), keras.layers.Dense(width, activation)]
        )

    def compiled(width=3, activation="softmax", **arguments):
        model = network(width, activation)
        model.compile(**arguments)
        return model

    def momentum():
        return compiled(
            optimizer=keras.optimizers.SGD(0.5, momentum=0.9),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )

    def logits():
        return compiled(
            activation=None,
            optimizer=keras.optimizers.Adam(0.01, global_clipnorm=0.1),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def smoothed():
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.2)
        return compiled(optimizer="rmsprop", loss=[loss])

    def decayed():
        rate = keras.optimizers.schedules.CosineDecay(0.5, 6)
        return compiled(optimizer=keras.optimizers.SGD(rate), loss=keras.losses.kl_divergence)

    def huber():
        loss = keras.losses.Huber(delta=0.1)
        return compiled(1, None, optimizer=keras.optimizers.SGD(0.1), loss=loss)

    def summed():
        loss = keras.losses.MeanSquaredError(reduction="sum")
        return compiled(1, None, optimizer=keras.optimizers.SGD(0.001), loss=loss)

    def averaged():
        optimizer = keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.999)
        return compiled(optimizer=optimizer, loss="sparse_categorical_crossentropy")

    def scaled():
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.02), initial_scale=4.0, dynamic_growth_steps=7
        )
        return compiled(optimizer=optimizer, loss="sparse_categorical_crossentropy")

    ONE = keras.optimizers.Adam(0.02)

    def shared():
        return compiled(optimizer=ONE, loss="sparse_categorical_crossentropy")

    def measured():
        metrics = [
            keras.metrics.SparseCategoricalAccuracy(name="acc"),
            keras.metrics.AUC(),
            [keras.metrics.AUC(num_thresholds=5)],
            "mae",
            keras.metrics.MeanIoU(3),
        ]
        return compiled(optimizer="adam", metrics=metrics, weighted_metrics=["f1_score"])

    def own_loss(labels, outputs):
        return keras.ops.mean(keras.ops.square(labels - outputs), axis=-1)

    def homemade():
        return compiled(optimizer="adam", loss=own_loss)

    def unreduced():
        return compiled(optimizer="adam", loss=keras.losses.MeanSquaredError(reduction="none"))

    def weighted():
        return compiled(optimizer="adam", loss="sparse_categorical_crossentropy", loss_weights=0.5)

    def only_loss():
        model = network(3)
        model.compile(optimizer=None, loss="sparse_categorical_crossentropy")
        return model

    def plain():
        return network(3)

    class Searched(keras_tuner.HyperModel):
        def build(self, hp):
            rate = hp.Float("rate", 1e-4, 1.0, sampling="log")
            kind = hp.Choice("kind", ["SGD", "Adam"])
            loss = hp.Choice("loss", ["categorical_hinge", "sparse_categorical_crossentropy"])
            model = network(3, "softmax")
            model.compile(getattr(keras.optimizers, kind)(rate), loss, metrics=["accuracy"])
            return model
    """
# 108 training examples.
IRIS = {"data.source": "iris", "data.batch_size": 12, "train.epochs": 4, "train.loop": "streaming"}


@pytest.fixture(autouse=True)
def own_compiled(tmp_path, monkeypatch):
    (tmp_path / "own_compiled.py").write_text(textwrap.dedent(OWN), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_compiled", None)


def config_of(name, **more):
    return load_config(overrides=IRIS | {"model.name": f"own_compiled:{name}"} | more)


def parts_of(name, **more):
    return assemble(config_of(name, **more), data_dir=data_folder(None))


def refusal(name, **more):
    with pytest.raises(UsageError) as caught:
        parts_of(name, **more)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "source", "one_hot"),
    [
        ("momentum", "iris", False),
        ("logits", "iris", False),
        ("smoothed", "iris", True),
        ("decayed", "iris", True),
        ("huber", "synthetic/linear", False),
        ("summed", "synthetic/linear", False),
    ],
)
def test_steps_are_those_of_keras(name, source, one_hot):
    """Keras's `train_on_batch`, on the same weights and batches, is what must come out."""
    ours, keras_ = (parts_of(name, **{"data.source": source}) for _ in range(2))
    step = TapeStep(ours.predictor, ours.loss, ours.optimizer, ours.metrics)
    model = keras_.predictor.model
    features, labels = ours.splits.train.features, ours.splits.train.labels
    start = model.get_weights()
    for begin in (0, 16, 32, 48):
        x, y = features[begin : begin + 16], labels[begin : begin + 16]
        assert step(tf.constant(x), tf.constant(y))
        targets = np.eye(3, dtype=np.float32)[y] if one_hot else y
        model.train_on_batch(keras_.predictor.preprocess(tf.constant(x)), targets)
    ended = zip(ours.predictor.model.get_weights(), model.get_weights(), start, strict=True)
    for one, other, before in ended:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        assert np.abs(one - before).max() > 1e-3


def test_run_says_where_optimizer_and_loss_come_from(tmp_path):
    losses = {}
    for rate in (0.5, 0.01):
        options = {"rate": rate, "kind": "SGD", "loss": "sparse_categorical_crossentropy"}
        result = train_model(config_of("Searched", **{"model.options": options}), runs=tmp_path)
        run = Run(result.path)
        train = run.config().train
        assert (train.optimizer.name, train.optimizer.learning_rate) == ("compiled", None)
        assert (train.loss, train.metrics) == ("compiled", ["accuracy"])
        log = (run.path / "log.txt").read_text()
        assert f"optimizer of the model's compile(): SGD with learning rate {rate:g}\n" in log
        assert "loss of the model's compile(): sparse_categorical_crossentropy\n" in log
        rows = [row for row in run.metrics() if row["split"] == "train"]
        assert [row["learning_rate"] for row in rows] == pytest.approx([rate] * 4)
        losses[rate] = rows[-1]["loss"]
        found = evaluate_run(run.path, split="validation", step=result.step)
        assert found.metrics["loss"] == pytest.approx(result.validation["loss"], rel=1e-5)
    assert losses[0.5] < losses[0.01] / 2, "the searched rate has an effect"


class StopAfter(Writer):
    def __init__(self, step):
        self.step, self.reached = step, 0

    def __call__(self):
        return ExitCode.INTERRUPTED if self.reached >= self.step else None

    def progress(self, progress):
        self.reached = progress.step


def test_resumed_run_goes_on_with_the_compiled_optimizer(tmp_path):
    options = {"model.options": {"rate": 0.02, "kind": "Adam"}}
    whole = train_model(config_of("Searched", **options), runs=tmp_path, name="whole")
    stop = StopAfter(13)
    with pytest.raises(Interrupted):
        train_model(
            config_of("Searched", **options), runs=tmp_path, name="cut", writers=[stop], stop=stop
        )
    resumed = resume_training(tmp_path / "cut")
    assert resumed.validation == whole.validation
    assert Run(resumed.path).config() == Run(whole.path).config()


def test_resolved_config_follows_changed_options(tmp_path):
    """What a search found can be changed by hand: nothing of `compile()` is written into it."""
    resolved = parts_of("Searched", **{"model.options": {"rate": 0.5}}).config
    changed = resolved.with_values({"model.options.rate": 0.25, "model.options.kind": "Adam"})
    optimizer = assemble(changed, data_dir=data_folder(None)).optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == 0.25


def test_optimizer_of_the_config_wins():
    parts = parts_of("momentum", **{"train.optimizer.name": "adam"})
    assert type(parts.optimizer) is keras.optimizers.Adam
    assert float(parts.optimizer.learning_rate) == pytest.approx(1e-3)
    assert parts.config.train.optimizer.learning_rate == 1e-3
    assert parts.notes[0] == "optimizer adam, as train.optimizer says; compile() says SGD"


def test_single_values_of_the_config_change_the_compiled_optimizer():
    given = {"train.optimizer": {"learning_rate": 0.125, "clipnorm": 2.0}}
    optimizer = (parts := parts_of("momentum", **given)).optimizer
    assert (type(optimizer), optimizer.momentum) == (keras.optimizers.SGD, 0.9)
    assert (float(optimizer.learning_rate), optimizer.clipnorm) == (0.125, 2.0)
    assert parts.config.train.optimizer.name == "compiled"
    assert parts.notes[0] == (
        "optimizer of the model's compile(): SGD with learning rate 0.5, but learning_rate,"
        " clipnorm as train.optimizer says"
    )


def test_schedule_of_the_config_starts_at_the_compiled_rate():
    optimizer = parts_of("momentum", **{"train.schedule": {"name": "cosine"}}).optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.5)
    optimizer.iterations.assign(18)  # half of 36 steps
    assert float(optimizer.learning_rate) == pytest.approx(0.25)


def test_schedule_of_the_compiled_optimizer_is_named_and_stays():
    parts = parts_of("decayed")
    assert parts.config.train.schedule.name == "compiled"
    again = assemble(parts.config, data_dir=data_folder(None))
    for optimizer in (parts.optimizer, again.optimizer):
        optimizer.iterations.assign(3)
        assert float(optimizer.learning_rate) == pytest.approx(0.25)  # half way of 6 steps
    assert parts.notes[0] == "optimizer of the model's compile(): SGD with a schedule"


def test_rate_of_the_config_takes_the_place_of_a_compiled_schedule():
    parts = parts_of("decayed", **{"train.optimizer.learning_rate": 0.125})
    parts.optimizer.iterations.assign(3)
    assert float(parts.optimizer.learning_rate) == 0.125
    assert parts.config.train.schedule.name == "constant"


def test_loss_and_metrics_of_the_config_win():
    parts = parts_of("momentum", **{"train.loss": "categorical_hinge", "train.metrics": ["auc"]})
    assert parts.loss.name == "categorical_hinge"
    assert parts.config.train.metrics == ["auc"]
    assert parts.notes[1] == (
        "loss categorical_hinge, as train.loss says; compile() says sparse_categorical_crossentropy"
    )


def test_averages_of_the_compiled_optimizer_are_evaluated(tmp_path):
    result = train_model(config_of("averaged"), runs=tmp_path)
    found = evaluate_run(result.path, split="validation", step=result.step)
    assert found.metrics["loss"] == pytest.approx(result.validation["loss"], rel=1e-5)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_loss_scaling_of_the_compiled_optimizer_is_kept(precision):
    optimizer = parts_of("scaled", **{"train.precision": precision}).optimizer
    assert isinstance(optimizer, LossScaling)
    assert (optimizer.initial_scale, optimizer.dynamic_growth_steps) == (4.0, 7)
    changed = parts_of("scaled", **{"train.optimizer.learning_rate": 0.125}).optimizer
    assert (changed.initial_scale, float(changed.learning_rate)) == (4.0, 0.125)


def test_mixed_float16_scales_the_loss_of_a_compiled_model():
    optimizer = parts_of("momentum", **{"train.precision": "mixed_float16"}).optimizer
    assert isinstance(optimizer, LossScaling)
    assert (type(optimizer.inner_optimizer), optimizer.inner_optimizer.momentum) == (
        keras.optimizers.SGD,
        0.9,
    )


def test_optimizer_that_all_models_of_a_module_share_is_made_anew(tmp_path):
    first, second = (train_model(config_of("shared"), runs=tmp_path) for _ in range(2))
    assert first.validation == second.validation


def test_metrics_that_have_no_name_are_left_out_with_a_note():
    parts = parts_of("measured")
    assert parts.config.train.metrics == ["accuracy", "auc", "f1_score"]
    left_out = [note for note in parts.notes if "left out" in note]
    for metric, note in zip(("AUC", "mae", "MeanIoU"), left_out, strict=True):
        assert metric in note


def test_models_that_are_not_compiled_train_as_ever():
    parts = parts_of("plain")
    assert parts.config.train.optimizer.name == "adam"
    assert parts.config.train.loss == "sparse_categorical_crossentropy"
    assert parts.config.train.optimizer.learning_rate == 1e-3
    assert parts.notes == ()


@pytest.mark.parametrize(
    ("name", "given", "problem"),
    [
        (
            "plain",
            {"train.optimizer.name": "compiled"},
            "train.optimizer is 'compiled', but the model was not compiled with one.",
        ),
        (
            "plain",
            {"train.loss": "compiled"},
            "train.loss is 'compiled', but the model was compiled without a loss.",
        ),
        (
            "momentum",
            {"train.optimizer.name": "sgd", "train.schedule.name": "compiled"},
            "train.schedule is 'compiled', but train.optimizer is 'sgd'. Name a schedule,",
        ),
        (
            "decayed",
            {"train.optimizer.learning_rate": 0.1, "train.schedule.name": "compiled"},
            "train.schedule is 'compiled', so there is no train.optimizer.learning_rate beside it.",
        ),
        (
            "decayed",
            {"train.schedule.warmup_steps": 5},
            "train.schedule 'constant' needs a rate to start from, and the compiled optimizer has",
        ),
        (
            "momentum",
            {"train.optimizer": {"name": "compiled", "momentun": 0.5}},
            "train.optimizer 'compiled': SGD has no option 'momentun'. Did you mean 'momentum'?",
        ),
        (
            "homemade",
            {},
            "the model was compiled with the loss own_loss, which cannot be told here what the",
        ),
        ("unreduced", {}, "the model was compiled with the loss MeanSquaredError, which cannot be"),
        ("weighted", {}, "the model was compiled with loss_weights, which weigh losses of several"),
    ],
)
def test_what_contradicts_compile_is_told_in_one_sentence(name, given, problem):
    assert refusal(name, **given).startswith(problem)


def test_own_loss_can_be_named(tmp_path):
    data = {"data.source": "synthetic/linear", "train.loss": "own_compiled:own_loss"}
    assert parts_of("huber", **data).loss.name == "own_compiled:own_loss"


def test_compiled_without_an_optimizer_gets_the_default_one():
    train = parts_of("only_loss").config.train
    assert (train.optimizer.name, train.loss) == ("adam", "compiled")
