from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tfapp.bench.examples import (
    batch_indices,
    epoch_indices,
    initial_weights,
    read_examples,
    write_examples,
)
from tfapp.bench.workloads import WORKLOADS, Workload

ALL = list(WORKLOADS.values())


@pytest.mark.parametrize("workload", ALL, ids=lambda w: w.name)
def test_all_batches_of_a_workload_are_whole(workload):
    assert workload.examples == workload.steps_per_epoch * workload.batch_size


@pytest.mark.parametrize("workload", ALL, ids=lambda w: w.name)
def test_a_workload_survives_the_way_to_another_process(workload):
    assert Workload.from_json(workload.to_json()) == workload


@pytest.mark.parametrize("name", ["two-layer", "cnn"])
def test_features_are_already_what_scaling_makes_of_them(name, tmp_path):
    write_examples(WORKLOADS[name], tmp_path / "x.npz")
    features = read_examples(tmp_path / "x.npz").features.astype(np.float64)
    axes = tuple(range(features.ndim - 1))
    assert np.abs(features.mean(axis=axes)).max() < 1e-7
    assert np.abs(features.std(axis=axes) - 1).max() < 1e-6


def test_no_network_can_bring_the_loss_to_zero(tmp_path):
    write_examples(WORKLOADS["two-layer"], tmp_path / "x.npz")
    examples = read_examples(tmp_path / "x.npz")
    labels: dict[bytes, set[int]] = {}
    for row, label in zip(examples.features, examples.labels, strict=True):
        labels.setdefault(row.tobytes(), set()).add(int(label))
    assert len(labels) == len(examples.labels) // 4
    # Of four random labels of ten, 0.001 of the rows would have four that are the same.
    assert np.mean([len(found) > 1 for found in labels.values()]) > 0.98


def test_the_first_epoch_is_in_stored_order_and_the_others_are_not():
    workload = WORKLOADS["two-layer"]
    assert epoch_indices(workload, 0).ravel().tolist() == list(range(workload.examples))
    first, second = (epoch_indices(workload, epoch).ravel() for epoch in (1, 2))
    for order in (first, second):
        assert sorted(order) == list(range(workload.examples))
    assert (first != second).mean() > 0.99


def test_batches_go_on_from_epoch_to_epoch():
    workload = replace(WORKLOADS["two-layer"], examples=128)
    batches = list(itertools.islice(batch_indices(workload), 4))
    assert [batch.shape for batch in batches] == [(64,)] * 4
    assert sorted(np.concatenate(batches[2:])) == list(range(128))


def test_weights_have_the_shapes_of_the_layers():
    shapes = {name: [w.shape for w in initial_weights(WORKLOADS[name])] for name in WORKLOADS}
    assert shapes["mlp-sgd"] == [(784, 256), (256,), (256, 128), (128,), (128, 10), (10,)]
    assert shapes["two-layer"] == [(1000, 100), (100, 10)]
    assert shapes["quadratic"] == [()]
    convolutions = [(3, 3, 1, 32), (32,), (32,), (3, 3, 32, 64), (64,), (64,)]
    assert shapes["cnn"] == [*convolutions, (7 * 7 * 64, 128), (128,), (128, 10), (10,)]
