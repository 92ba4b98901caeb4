"""What one process trains with, built and ready: data, model, step, loop, validation.

Building it costs a second, nearly all of it tracing and compiling. `Programs` keeps what it has
built: of two trainings that differ only in seed, length or learning rate, the second takes the
compiled calls of the first, with every variable set to what a fresh build would have.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfapp.config import Config
from tfapp.data import OnePass, load_splits
from tfapp.data.splits import Splits
from tfapp.training.assembly import Assembly, assemble
from tfapp.training.calibration import LoopChoice, choose_loop
from tfapp.training.loops import EvaluationLoop
from tfapp.training.replicas import ReplicatedEvaluation, ReplicatedStep
from tfapp.training.strategy import even_batch_size
from tfapp.training.tape import TapeStep

# Operations that draw from a state inside TensorFlow, whose seeds are part of the compiled call.
# What Keras draws comes from variables.
_RANDOM = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
    }
)
# Attributes that every model has, such as the losses of its last call.
_KERAS_KEEPS = frozenset(vars(keras.Model(name="bare")))
# What no compiled call knows of.
_FREE = ("name", "seed", "tune")
_FREE_OF_TRAIN = ("checkpoint", "early_stopping", "monitor", "monitor_mode")


@dataclass(frozen=True)
class Program:
    """A training before its first step.

    Attributes:
        parts: Data, model, loss, optimizer.
        step: One update of these parts.
        choice: The loop that runs it over the training split, and why.
        validation: Measures the model on the validation split; `None` where nothing is held out.
    """

    parts: Assembly
    step: TapeStep
    choice: LoopChoice
    validation: EvaluationLoop | None

    @cached_property
    def draws_from_variables(self) -> bool:
        """Whether all that is random in a compiled step comes from variables."""
        operations = getattr(self.choice.loop, "operations", None)
        if operations is None:
            return False
        self.choice.loop.start(0)  # where nothing was trained with it, there is no call yet
        return _RANDOM.isdisjoint(operations())


def build_program(parts: Assembly, *, first_step: int = 0) -> Program:
    """Builds what runs the parts of a training.

    Args:
        parts: Data, model, loss, optimizer.
        first_step: Steps that are done already.

    Raises:
        UsageError: The loop that was asked for cannot hold the data.
    """
    step = build_step(parts)
    choice = choose_loop(parts, step, first_step=first_step)
    parts = parts.with_loop(choice.name)
    return Program(parts, step, choice, _build_validation(parts))


def build_step(parts: Assembly) -> TapeStep:
    """Builds the optimizer and what one update does."""
    made = (parts.predictor, parts.loss, parts.optimizer, parts.metrics)
    if (place := parts.place).replicas > 1:
        # A TPU has one process, which feeds all of its cores.
        examples = parts.config.data.batch_size if place.name == "tpu" else None
        return ReplicatedStep(
            *made, strategy=place.strategy, devices=place.devices, examples=examples
        )
    return TapeStep(*made)


class Programs:
    """Builds programs, and uses what it has compiled again.

    A program that is handed out takes the variables of the one before it of the same shape, so only
    the newest of them may be trained.

    Args:
        data_dir: Where prepared data sets are kept.
        most: How many programs are kept.
    """

    def __init__(self, data_dir: Path, *, most: int = 8) -> None:
        self._data_dir = data_dir
        self._most = most
        self._kept: dict[str, Program] = {}
        self._splits: dict[str, Splits] = {}
        self._drawn_by_python: set[str] = set()  # outlines of configs

    def build(self, config: Config) -> Program:
        """Returns the program of a config; its numbers are those of a fresh one.

        Raises:
            TfappError: With what is wrong in data, model or options.
        """
        return self._renewed(config) or self._built(config)

    def _renewed(self, config: Config) -> Program | None:
        """Returns a program that is known, if there is one.

        TensorFlow's own seed is left alone, since no value comes from it: to set it has TensorFlow
        forget every kernel, and prepare each compiled call once more, which takes 0.2 seconds for
        a small model.
        """
        if (outline := _outline(config)) not in self._drawn_by_python:
            return None
        fresh = self._assemble(config, _seed_python)
        build_step(fresh)
        key = _shape_of(fresh)
        known = self._kept.pop(key, None)
        if known is None or not known.draws_from_variables or not _same_constants(known, fresh):
            self._drawn_by_python.discard(outline)
            return None
        self._kept[key] = known  # as the newest
        return _renew(known, fresh)

    def _built(self, config: Config) -> Program:
        fresh = self._assemble(config)
        if _has_drawn(config.seed):  # and to find that out has drawn once more
            fresh = self._assemble(config)
        else:
            self._drawn_by_python.add(_outline(config))
        step = build_step(fresh)
        choice = choose_loop(fresh, step)
        fresh = fresh.with_loop(choice.name)
        program = Program(fresh, step, choice, _build_validation(fresh))
        if fresh.place.replicas == 1:
            self._kept[_shape_of(fresh)] = program
        while len(self._kept) > self._most:
            self._kept.pop(next(iter(self._kept)))
        return program

    def clear(self) -> None:
        """Forgets all programs, which gives their memory back."""
        self._kept.clear()

    def _assemble(
        self, config: Config, seed: Callable[[int], None] = keras.utils.set_random_seed
    ) -> Assembly:
        return assemble(config, data_dir=self._data_dir, splits=self._load(config), seed=seed)

    def _load(self, config: Config) -> Splits:
        refit = config.train.refit
        key = f"{config.data.model_dump_json(exclude={'batch_size'})} {refit}"
        if key not in self._splits:
            found = load_splits(config.data, data_dir=self._data_dir, refit=refit)
            self._splits = {key: found}
        return self._splits[key]


def _renew(known: Program, fresh: Assembly) -> Program:
    """Returns a known program with the values and the config of a fresh build."""
    for part, variables in known.parts.variables.items():
        for variable, value in zip(variables, fresh.variables[part], strict=True):
            variable.assign(value)
    known.choice.loop.reorder(fresh.config.seed)
    parts = replace(known.parts, config=fresh.config).with_loop(known.choice.name)
    return replace(known, parts=parts)


def _shape_of(parts: Assembly) -> str:
    """Returns what a compiled call depends on, as text."""
    shape = _shape(parts.config, free_rate=_rate_is_variable(parts))
    return json.dumps([shape, parts.splits.info.fingerprint], sort_keys=True)


def _outline(config: Config) -> str:
    """Returns what is known of `_shape_of` before anything is built."""
    return json.dumps(_shape(config, free_rate=True), sort_keys=True)


def _shape(config: Config, *, free_rate: bool) -> dict[str, Any]:
    shape = config.model_dump(mode="json", exclude=set(_FREE))
    train = shape["train"]
    for key in _FREE_OF_TRAIN:
        del train[key]
    if train["schedule"] == {"name": "constant", "warmup_steps": 0}:
        del train["epochs"]  # else the schedule knows how long the run is
        if free_rate:
            del train["optimizer"]["learning_rate"]
    return shape


def _seed_python(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)


def _has_drawn(seed: int) -> bool:
    """Tells whether an operation has drawn from TensorFlow's seed since it was set to `seed`.

    If not, it is left as if it had just been set.
    """
    _, after = tf.compat.v1.get_seed(None)
    tf.random.set_seed(seed)
    _, first = tf.compat.v1.get_seed(None)
    tf.random.set_seed(seed)
    return bool(after != first)


def _rate_is_variable(parts: Assembly) -> bool:
    return any(v.path.endswith("learning_rate") for v in parts.optimizer.variables)


def _same_constants(known: Program, fresh: Assembly) -> bool:
    """Tells whether what two models keep beside their variables is the same.

    A compiled call may hold it: random projections that were drawn when the model was made, say.
    What a call itself has left in an attribute is a symbolic tensor, and no constant.
    """
    before, now = (_constants(parts.predictor.model) for parts in (known.parts, fresh))
    return before.keys() == now.keys() and all(
        tf.is_symbolic_tensor(value) or np.array_equal(value, now[place])
        for place, value in before.items()
    )


def _constants(model: Any) -> dict[str, Any]:
    """Returns numbers, arrays and tensors in the attributes of a model, by place.

    Those of its layers and modules too, and those in lists and dictionaries.
    """
    found: dict[str, Any] = {}
    seen = {id(variable) for variable in model.variables}
    waiting: list[tuple[str, Any]] = [("", model)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, int | float | complex | np.ndarray | np.generic):
            found[place] = item
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        inner: Mapping[Any, Any] = {}
        if tf.is_tensor(item) or isinstance(item, keras.Variable):
            found[place] = tf.convert_to_tensor(item)
        elif isinstance(item, tf.random.Generator):
            found[place] = item.state
        elif isinstance(item, keras.layers.Layer | tf.Module):
            own = {key: value for key, value in vars(item).items() if key not in _KERAS_KEEPS}
            inner = own | {"layers": getattr(item, "layers", None)}
        elif isinstance(item, Mapping):
            inner = item
        elif isinstance(item, list | tuple):
            inner = dict(enumerate(item))
        waiting += [(f"{place}/{key}", value) for key, value in inner.items()]
    return found


def _build_validation(parts: Assembly) -> EvaluationLoop | None:
    if parts.config.train.refit:
        return None
    place, split = parts.place, parts.splits.validation
    size, examples = parts.config.data.batch_size, None
    if place.name == "tpu":
        size = examples = even_batch_size(split.size, size, place.replicas)
    made = (parts.predictor, parts.validation_loss, parts.validation_metrics, OnePass(split, size))
    if place.replicas > 1:
        return ReplicatedEvaluation(place.strategy, *made, examples=examples)
    return EvaluationLoop(*made)
