"""Whether an installation works: a compiled step, XLA, and every folder that is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfapp.errors import TfappError
from tfapp.runs import write_whole
from tfapp.settings import read_settings


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: What was tried.
        works: Whether it did what it should.
        detail: What came out.
    """

    name: str
    works: bool
    detail: str


def examine() -> list[Check]:
    """Tries everything that a training needs; nothing is left behind."""
    settings = read_settings()
    trials: list[tuple[str, Callable[[], str]]] = [
        ("compiled gradient", lambda: _gradient(jit_compile=False)),
        ("XLA gradient", lambda: _gradient(jit_compile=True)),
        ("Keras optimizer", _optimizer_step),
        (f"write {settings.runs}/", lambda: _write(settings.runs)),
        (f"write {settings.saved_models}/", lambda: _write(settings.saved_models)),
        (f"write {settings.data}/", lambda: _write(settings.data)),
    ]
    return [_try(name, trial) for name, trial in trials]


def _try(name: str, trial: Callable[[], str]) -> Check:
    try:
        return Check(name, True, trial())
    except (TfappError, tf.errors.OpError, ArithmeticError, OSError, RuntimeError) as error:
        return Check(name, False, str(error).split("\n")[0])


def _gradient(*, jit_compile: bool) -> str:
    @tf.function(jit_compile=jit_compile)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(x @ x)
        return tape.gradient(y, x)

    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    # d sum(x x)/dx_ij = column sum i + row sum j
    expected = x.sum(axis=1)[np.newaxis] + x.sum(axis=0)[:, np.newaxis]
    found = gradient(tf.constant(x)).numpy()
    if not np.allclose(found, expected):
        raise ArithmeticError(f"expected {expected.tolist()}, got {found.tolist()}")
    return "equal to the closed form"


def _optimizer_step() -> str:
    weight = tf.Variable(0.0)
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.apply([tf.constant(-10.0)], [weight])
    if not np.isclose(float(weight), 0.1):
        raise ArithmeticError(f"expected 0.1 after one step of SGD, got {float(weight)}")
    return "one step of SGD gives 0.1"


def _write(folder: Path) -> str:
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    probe = folder / f".tfapp-doctor-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        write_whole(probe, "")
    finally:
        probe.unlink(missing_ok=True)
        for created in made:
            created.rmdir()
    return "can be written"
