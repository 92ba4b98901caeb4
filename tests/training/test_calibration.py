from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.client import device_lib

from tfapp.config import load_config
from tfapp.data.splits import StreamSplit
from tfapp.errors import UsageError
from tfapp.training import calibration
from tfapp.training.assembly import Assembly, assemble
from tfapp.training.calibration import choose_loop
from tfapp.training.memory import free_memory, free_on_host
from tfapp.training.tape import TapeStep

LONG = "train.epochs=1000000000"  # so long that every loop is worth its compiling
RICH = (
    "train.optimizer.name=adamw",
    "train.optimizer.use_ema=true",
    "model.options={hidden=[8],dropout=0.2}",
)


def build(tmp_path, *assignments: str) -> tuple[Assembly, TapeStep]:
    parts = assemble(
        load_config(None, ["data.source=iris", "data.batch_size=109", *assignments]),
        data_dir=tmp_path,
    )
    return parts, TapeStep(parts.predictor, parts.loss, parts.optimizer, parts.metrics)


def values(parts: Assembly) -> list[np.ndarray]:
    return [np.array(v) for part in parts.variables.values() for v in part]


def test_a_short_run_streams_without_compiling(tmp_path):
    choice = choose_loop(*build(tmp_path, "train.epochs=1"))
    assert choice.name == "streaming"
    assert "not resident or streaming_xla: compiling may take" in choice.reason
    assert not choice.seconds_per_step


def test_a_long_run_takes_the_loop_that_was_fastest(tmp_path):
    choice = choose_loop(*build(tmp_path, LONG))
    assert set(choice.seconds_per_step) == {"resident", "streaming", "streaming_xla"}
    assert choice.seconds_per_step[choice.name] == min(choice.seconds_per_step.values())
    assert choice.reason.startswith(f"{choice.name} takes ")


@pytest.mark.parametrize("loop", ["auto", "resident"])
def test_after_choosing_every_variable_is_what_it_was(tmp_path, loop):
    parts, step = build(tmp_path, LONG, *RICH, f"train.loop={loop}")
    for _ in range(3):  # so that slots, averages and seeds are not at their first values
        step(parts.splits.train.features[:8], parts.splits.train.labels[:8])
    before = values(parts)
    assert any("seed" in v.path for v in parts.predictor.model.variables)
    choose_loop(parts, step)
    for a, b in zip(before, values(parts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_chosen_loop_begins_where_it_is_told_to(tmp_path):
    weights = []
    for loop in ("auto", "streaming"):
        parts, step = build(tmp_path, "train.epochs=2", *RICH, f"train.loop={loop}")
        choice = choose_loop(parts, step)
        assert choice.name == "streaming"
        choice.loop.start(0)
        choice.loop.run(parts.total_steps)
        weights.append(values(parts))
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_convolutions_on_a_cpu_rule_xla_out(tmp_path):
    choice = choose_loop(*build(tmp_path, LONG, "data.source=digits", "model.name=cnn"))
    assert choice.name == "streaming"
    assert choice.reason == "not resident or streaming_xla: Conv2D under XLA on a CPU"


class Shouting(keras.Model):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.out = keras.layers.Dense(outputs)

    def call(self, x, training=False):
        return tf.ensure_shape(tf.py_function(lambda v: v, [self.out(x)], tf.float32), [None, 3])


@pytest.mark.parametrize("loop", ["auto", "resident"])
def test_an_operation_that_xla_refuses_is_named_and_streaming_taken(tmp_path, loop):
    parts, step = build(tmp_path, LONG, f"model.name={__name__}:Shouting", f"train.loop={loop}")
    choice = choose_loop(parts, step)
    assert choice.name == "streaming"
    assert "XLA cannot compile EagerPyFunc" in choice.reason
    choice.loop.start(0)
    assert choice.loop.run(3).steps == 3


def test_a_split_larger_than_memory_is_not_made_resident(tmp_path, monkeypatch):
    parts, _ = build(tmp_path, "train.loop=resident")
    weights = sum(value.nbytes for value in values(parts))
    # 108 examples of 4 float32 features and an int32 label, twice while they are copied.
    needed = 2 * 108 * (4 * 4 + 4) + weights
    monkeypatch.setattr(calibration, "free_memory", lambda: needed - 1)
    with pytest.raises(UsageError, match=r"takes 0 MB, which with copies and weights .* are free"):
        choose_loop(*build(tmp_path, "train.loop=resident"))
    choice = choose_loop(*build(tmp_path, LONG))
    assert "not resident: the training split takes" in choice.reason
    assert set(choice.seconds_per_step) == {"streaming", "streaming_xla"}
    monkeypatch.setattr(calibration, "free_memory", lambda: needed)
    assert choose_loop(*build(tmp_path, "train.loop=resident")).name == "resident"


def test_a_source_that_is_read_batch_by_batch_is_not_made_resident(tmp_path):
    parts, step = build(tmp_path, "train.loop=resident")
    train = parts.splits.train
    stream = StreamSplit(tf.data.Dataset.from_tensor_slices(train.tensors), train.size)
    parts = replace(parts, splits=replace(parts.splits, train=stream))
    with pytest.raises(UsageError, match="'resident': its source is read batch by batch"):
        choose_loop(parts, step)


def test_a_step_that_is_not_finite_ends_the_trying(tmp_path):
    parts, step = build(tmp_path, LONG)
    parts.splits.train.features[:] = np.inf
    choice = choose_loop(parts, step)
    assert (choice.name, choice.reason) == ("streaming", "a step was not finite")


def test_free_memory_of_a_gpu_is_what_tensorflow_may_take_less_what_it_has(monkeypatch):
    """There is no GPU where this is tested: what TensorFlow tells of one is made up."""
    gpu = SimpleNamespace(name="/device:GPU:0")
    described = SimpleNamespace(name="/device:GPU:0", memory_limit=9000)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [gpu])
    monkeypatch.setattr(device_lib, "list_local_devices", lambda: [described])
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda name: {"current": 2000})
    assert free_memory() == 7000


def test_free_memory_is_what_is_left_of_the_machine_or_of_the_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 900 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\n")
    assert free_on_host(meminfo, tmp_path) == 500 * 1024
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert free_on_host(meminfo, tmp_path) == 500 * 1024
    (tmp_path / "memory.max").write_text("10000\n")
    (tmp_path / "memory.stat").write_text("anon 1500\ninactive_file 500\n")
    assert free_on_host(meminfo, tmp_path) == 7500, "files that were read give way"
    assert free_on_host(tmp_path / "none", tmp_path / "none") is None
    free = free_memory()
    assert free is None or free > 2**20
