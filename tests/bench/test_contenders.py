"""Every framework does the same work: its first losses are those of the reference."""

from __future__ import annotations

import statistics
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tfapp.bench.contenders.base import Task
from tfapp.bench.contenders.input_pipeline import shuffled_batches, stored_batches
from tfapp.bench.examples import initial_weights, read_examples, write_examples
from tfapp.bench.reference import reference_losses
from tfapp.bench.roster import ROSTER
from tfapp.bench.workloads import WORKLOADS
from tfapp.names import import_object

MLP = replace(WORKLOADS["mlp-adam"], examples=80, batch_size=8, feature_shape=(12,), hidden=(16, 9))
SMALL = {
    "mlp-sgd": replace(MLP, name="mlp-sgd", loss="squared_error", optimizer="sgd"),
    "mlp-adam": MLP,
    "two-layer": replace(
        WORKLOADS["two-layer"], examples=80, batch_size=8, feature_shape=(12,), hidden=(7,)
    ),
    "cnn": replace(
        WORKLOADS["cnn"], examples=80, batch_size=8, feature_shape=(9, 10, 1), hidden=(3, 4, 6)
    ),
    "quadratic": replace(WORKLOADS["quadratic"], examples=16),
}
STEPS = 10


def build(name, workload, tmp_path):
    entry = ROSTER[name]
    if entry.module is not None:
        pytest.importorskip(entry.module)
    source = tmp_path / "examples.npz"
    write_examples(workload, source)
    folder = tmp_path / name
    folder.mkdir()
    maker = import_object("contender", entry.path)
    return maker(Task(workload, source, folder)), read_examples(source)


TF = ("tfapp-resident", "tfapp-streaming", "fit", "fit-128", "fit-jit-128", "tf1-feed", "tf1-data")
BY_WORKLOAD = {
    "mlp-adam": (*TF, "tfapp", "tfapp-streaming_xla", "tfapp-eager", "numpy", "torch", "jax-scan"),
    "two-layer": (*TF, "numpy", "torch", "jax-scan"),
    "mlp-sgd": ("fit-32", "fit-jit-1", "numpy", "torch", "jax-step"),
    "quadratic": ("tfapp-resident", "fit-1", "fit-jit-32", "tf1-feed", "torch", "jax-scan"),
}


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        pytest.param(name, workload, id=f"{name} {workload}")
        for workload, names in BY_WORKLOAD.items()
        for name in names
    ],
)
def test_first_losses_are_those_of_the_reference(name, workload, tmp_path):
    contender, examples = build(name, SMALL[workload], tmp_path)
    expected = reference_losses(SMALL[workload], examples, STEPS)
    step = 0
    for loss in contender.first_losses(STEPS):
        wanted = statistics.fmean(expected[step : step + loss.steps])
        assert loss.mean == pytest.approx(wanted, rel=1e-4)
        step += loss.steps
    assert step == STEPS
    timed = contender.time(contender.unit)
    assert timed.steps == contender.unit
    assert timed.seconds > 0
    assert np.isfinite(contender.loss())
    contender.close()


@pytest.mark.parametrize(
    "name", ["tfapp-streaming", "fit-32", "tf1-feed", "tf1-data", "torch", "jax-step"]
)
def test_convolutions_are_the_same_everywhere(name, tmp_path):
    contender, _ = build(name, SMALL["cnn"], tmp_path)
    other, _ = build("fit-1", SMALL["cnn"], tmp_path)
    losses = contender.first_losses(STEPS)
    expected = [loss.mean for loss in other.first_losses(STEPS)]
    assert len(expected) == STEPS
    step = 0
    for loss in losses:
        wanted = statistics.fmean(expected[step : step + loss.steps])
        assert loss.mean == pytest.approx(wanted, rel=1e-3)
        step += loss.steps
    contender.close()
    other.close()


def test_the_last_layer_is_as_wide_as_there_are_classes(tmp_path):
    contender, _ = build("torch", replace(SMALL["cnn"], classes=4), tmp_path)
    (loss,) = contender.first_losses(1)
    assert np.isfinite(loss.mean)


@pytest.mark.parametrize("name", ["tfapp-streaming", "tfapp"])
def test_steps_that_were_not_done_are_not_counted(name, tmp_path):
    contender, _ = build(name, SMALL["quadratic"], tmp_path)
    contender.time(3)
    contender._parts.predictor.model.trainable_variables[0].assign(np.nan)
    with pytest.raises(RuntimeError, match="a step was not finite"):
        contender.time(3)
    with pytest.raises(RuntimeError, match="a step was not finite"):
        contender.first_losses(1)


def test_a_whole_training_is_held_between_slices(tmp_path):
    contender, examples = build("tfapp-train", SMALL["mlp-adam"], tmp_path)
    expected = reference_losses(SMALL["mlp-adam"], examples, 9)
    losses = contender.first_losses(STEPS)
    assert [loss.steps for loss in losses] == [1, 8], "the first trips of a run"
    assert losses[0].mean == pytest.approx(expected[0], rel=1e-5)
    assert losses[1].mean == pytest.approx(statistics.fmean(expected[1:]), rel=1e-5)
    run = tmp_path / "tfapp-train" / "runs" / "latest"
    timed = contender.time(200)
    assert timed.steps >= 200
    rows = (run / "metrics.jsonl").read_text().splitlines()
    assert (run / "checkpoints").exists()
    assert contender.time(1).steps >= 1
    assert len((run / "metrics.jsonl").read_text().splitlines()) <= len(rows) + 2, "it was held"
    contender.close()
    assert '"interrupted"' in (run / "status.json").read_text()
    assert contender.remarks().endswith("us with validation")


@pytest.mark.parametrize("workload", ["mlp-sgd", "two-layer", "cnn"])
def test_the_limit_computes_the_products_of_every_layer(workload, tmp_path):
    contender, _ = build("gemm", SMALL[workload], tmp_path)
    assert not contender.trains
    assert contender.first_losses(1) == ()
    assert contender.time(3).steps == 3
    weights = [w for w in initial_weights(SMALL[workload]) if w.ndim > 1]
    for index, (layer, weight) in enumerate(zip(contender._layers, weights, strict=True)):
        products = layer.products(first=index == 0)
        assert products[1].shape == weight.shape
        assert len(products) == (2 if index == 0 else 3)


def test_every_epoch_of_the_pipeline_is_another_permutation():
    workload = SMALL["mlp-sgd"]
    rows = tf.range(workload.examples)
    batches = shuffled_batches(workload, tf.cast(rows, tf.float32)[:, None], rows)
    epochs = []
    for _, labels in batches.take(3 * workload.steps_per_epoch):
        assert labels.shape == [workload.batch_size]
        epochs += labels.numpy().tolist()
    epochs = np.reshape(epochs, [3, workload.examples])
    for order in epochs:
        assert sorted(order) == list(range(workload.examples))
    assert (epochs[0] != epochs[1]).mean() > 0.8
    assert (epochs[1] != epochs[2]).mean() > 0.8


def test_stored_batches_are_in_order():
    rows = tf.range(80)
    batches = list(stored_batches(SMALL["mlp-sgd"], rows[:, None], rows, 3))
    assert np.concatenate([labels for _, labels in batches]).tolist() == list(range(24))
