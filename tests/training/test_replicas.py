"""Training on several devices gives what one device gives with the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import replica_cases
import tensorflow as tf

from tfapp.config import load_config
from tfapp.data import load_splits
from tfapp.data.pipeline import Part, cut_part, training_batches
from tfapp.data.splits import ArraySplit, StreamSplit
from tfapp.training.cluster import Cluster
from tfapp.training.workers import free_addresses

# What is computed where; processes that exchange over a network take longest.
PLACES = {
    "mirrored-2": [*replica_cases.CASES, "masks"],
    "mirrored-3": ["momentum", "batch_normalization", "masks"],
    "multiworker-2": ["averages_and_clipping", "batch_normalization", "masks"],
    "multiworker-3": ["momentum", "masks"],
}
PROGRAM = Path(replica_cases.__file__)
# Sums in another order: the last bits of float32, for weights of the size of 1 ...
TOLERANCE = 2e-6
# ... and for counts and sums of losses of the size of 100.
RELATIVE = 1e-6
# Batch normalization divides by deviations, and multiplies what the sums leave; float16 has three
# digits.
LOOSER = {"batch_normalization": 2e-5, "float16": 1e-3}


@pytest.fixture(scope="module")
def one_device() -> dict[str, dict[str, np.ndarray]]:
    return {name: replica_cases.train(case, "one") for name, case in replica_cases.CASES.items()}


def start(strategy: str, file: Path, environment: dict[str, str], *cases: str) -> subprocess.Popen:
    command = [sys.executable, PROGRAM, strategy, file, *cases]
    return subprocess.Popen(
        command, env=os.environ | environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


def finish(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()[-2000:]


@pytest.fixture(scope="module", params=list(PLACES))
def several(request, tmp_path_factory) -> tuple[int, dict[str, np.ndarray], dict[str, list[float]]]:
    """How many replicas, and what the cases gave on them; of the program above."""
    strategy, _, text = request.param.partition("-")
    count, file = int(text), tmp_path_factory.mktemp(request.param) / "found.npz"
    cases = PLACES[request.param]
    if strategy == "mirrored":
        finish([start(strategy, file, {"TFAPP_CPU_DEVICES": text}, *cases)])
    else:
        addresses = free_addresses(count)
        clusters = [Cluster(addresses, index).to_json() for index in range(count)]
        finish([start(strategy, file, {"TF_CONFIG": cluster}, *cases) for cluster in clusters])
    masks = [json.loads(p.read_text()) for p in file.parent.glob(f"{file.name}.masks-*")]
    return count, dict(np.load(file)), {k: v for part in masks for k, v in part.items()}


def test_results_are_those_of_one_device(several, one_device):
    count, found, _ = several
    assert found["replicas"] == count
    cases = {key.partition(":")[0] for key in found} - {"replicas"}
    assert cases
    for case in cases:
        for key, value in one_device[case].items():
            np.testing.assert_allclose(
                found[f"{case}:{key}"],
                value,
                rtol=RELATIVE,
                atol=LOOSER.get(case, TOLERANCE),
                err_msg=f"{case} {key}",
            )


def test_float16_overflows_no_sooner_than_on_one_device(one_device):
    """Else `test_results_are_those_of_one_device` would compare two trainings that skip alike."""
    assert one_device["float16"]["measured/train/accuracy"] > 0.5
    assert 32768.0 in [value for value in one_device["float16"].values() if value.ndim == 0]


def test_every_replica_drops_other_values_each_time(several):
    count, _, masks = several
    assert set(masks) == {f"{replica}/{call}" for replica in range(count) for call in range(2)}
    outputs = [tuple(values) for values in masks.values()]
    assert len(set(outputs)) == len(outputs)


def test_the_cases_are_sensitive_to_what_they_test(one_device):
    """Sizes of the last batch, and that clipping does something."""
    for settings, rest in ((replica_cases.LAST_HAS_1, 1), (replica_cases.LAST_HAS_7, 7)):
        size = load_splits(
            load_config(overrides=settings).data, data_dir=Path(tempfile.gettempdir())
        ).train.size
        assert size % 12 == rest
    unclipped = replica_cases.CASES["averages_and_clipping"] | {
        "train.optimizer": {
            **replica_cases.CASES["averages_and_clipping"]["train.optimizer"],
            "global_clipnorm": 1e9,
        }
    }
    free = replica_cases.train(unclipped, "one")
    assert np.abs(free["model/0"] - one_device["averages_and_clipping"]["model/0"]).max() > 1e-3


@pytest.mark.parametrize("size", [1, 2, 7, 12])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_of_a_batch_are_whole_again_when_put_together(size, count):
    batch = tf.range(size * 2)
    batch = tf.reshape(batch, [size, 2])
    for known in (True, False):
        cut = tf.function(
            lambda b, i: cut_part(b, i, count),
            input_signature=[
                tf.TensorSpec([size if known else None, 2], tf.int32),
                tf.TensorSpec([], tf.int32),
            ],
            jit_compile=known and size % count == 0,  # as a TPU compiles it
        )
        parts = [cut(batch, tf.constant(i)).numpy() for i in range(count)]
        np.testing.assert_array_equal(np.concatenate(parts), batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("kind", ["arrays", "stream"])
def test_processes_read_their_parts_of_the_same_batches(kind):
    """Of 10 examples in batches of 4 the last has 2: fewer than replicas, so each reads it all."""
    features = np.arange(20, dtype=np.float32).reshape(10, 2)
    labels = np.arange(10, dtype=np.int32)
    split = ArraySplit(features, labels)
    if kind == "stream":
        split = StreamSplit(tf.data.Dataset.from_tensor_slices((features, labels)), 10)

    def read(part=None):
        batches = training_batches(split, batch_size=4, seed=3, first_step=1, part=part)
        return [[x.numpy() for x in batch] for batch, _ in zip(batches, range(4), strict=False)]

    parts = [read(Part(index, 3, 3)) for index in range(3)]
    for (features, labels), *cut in zip(read(), *parts, strict=True):
        assert all(size == len(labels) for _, _, size in cut)
        if len(labels) == 2:
            assert all(part[1].tolist() == labels.tolist() for part in cut)
        else:
            np.testing.assert_array_equal(labels, np.concatenate([part[1] for part in cut]))
            np.testing.assert_array_equal(features, np.concatenate([part[0] for part in cut]))


def test_a_process_loads_no_examples_but_its_own():
    loaded: list[list[int]] = []  # batch by batch; a later one may come before an earlier one

    def load(names):
        return tf.py_function(lambda n: loaded.append(n.numpy().tolist()) or n, [names], tf.int32)

    names = np.arange(8, dtype=np.int32)
    split = ArraySplit(names, names, load)
    labels = next(iter(training_batches(split, batch_size=8, seed=0, part=Part(1, 4, 4))))[1]
    assert len(labels) == 2
    assert labels.numpy().tolist() in loaded
    assert {len(batch) for batch in loaded} == {2}
