"""What a search may vary: `[tune]` and `[tune.space]` of a config.

    [tune.space]
    train.optimizer.learning_rate = { float = [1e-4, 1e-1], log = true }
    model.options.hidden = { choice = [[64], [128], [128, 64]] }
    model.options.dropout = { float = [0.0, 0.5], when = { "model.options.hidden" = [[128, 64]] } }

A key is that of any value of the config; dotted or quoted, which mean the same.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from tfapp.errors import did_you_mean
from tfapp.sections import Positive, Section

_TRIALS = 20
KINDS = ("float", "int", "choice", "boolean")
_WORDS = (*KINDS, "log", "step", "when")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXAMPLE = "train.optimizer.learning_rate = { float = [1e-4, 1e-1], log = true }"
_EXPECTED = {
    "floats": "the lowest and the highest number, e.g. [0.1, 0.5]",
    "ints": "the lowest and the highest whole number, e.g. [1, 4]",
    "choice": "a list of values, e.g. [32, 64, 128]",
}
# What a search needs to stay as it is, and what describes it.
_FIXED = ("name", "tune", "train.monitor", "train.monitor_mode", "train.refit", "train.strategy")


class Hyperparameter(Section):
    """What a search may give to one key, `KEY = { ... }`: float, int, choice or boolean."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    floats: tuple[float, float] | None = Field(
        None, alias="float", description="lowest and highest number"
    )
    ints: tuple[int, int] | None = Field(
        None, alias="int", description="lowest and highest whole number, both among the values"
    )
    choice: tuple[Any, ...] | None = Field(None, description="a list of values of any type")
    boolean: Literal[True] | None = Field(None, description="true: false or true")
    log: bool = Field(False, description="whether numbers are spread by their logarithm")
    step: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="distance of numbers; with log their quotient"
    )
    when: dict[str, tuple[Any, ...]] = Field(
        {}, description="searched only where other keys of the space have one of these values"
    )

    @field_validator("floats", "ints", "choice", mode="wrap")
    @classmethod
    def _listed(cls, value: Any, check: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return check(value)
        except ValidationError as error:  # one line, not one for each number
            expected = _EXPECTED[info.field_name or ""]
            raise ValueError(f"expected {expected}, found {value!r}") from error

    @field_validator("when", mode="before")
    @classmethod
    def _dotted(cls, when: Any) -> Any:
        if not isinstance(when, Mapping):
            return when
        flat = _flatten(when, stop=lambda value: not isinstance(value, Mapping))
        return {k: tuple(v) if isinstance(v, list | tuple) else (v,) for k, v in flat.items()}

    @model_validator(mode="after")
    def _check(self) -> Hyperparameter:
        given = self._kinds
        if len(given) != 1:
            raise ValueError(
                f"expected one of {', '.join(KINDS)},"
                f" found {' and '.join(given) or 'none of them'}; e.g. {{ int = [1, 4] }}"
            )
        if self.choice is not None:
            self._check_choice(self.choice)
        elif self.boolean is None:
            self._check_range(*self.range)
        if self.boolean is None and self.choice is None:
            return self
        for name in ("log", "step"):
            if getattr(self, name):
                raise ValueError(f"{name} goes with float and int, not with {self.kind}")
        return self

    @model_serializer(mode="wrap")
    def _short(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what was not said."""
        return {key: value for key, value in serialize(self).items() if value}

    @property
    def kind(self) -> str:
        """`float`, `int`, `choice` or `boolean`."""
        return self._kinds[0]

    @property
    def _kinds(self) -> list[str]:
        found = (self.floats, self.ints, self.choice, self.boolean)
        return [kind for kind, value in zip(KINDS, found, strict=True) if value is not None]

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest number; of a float or an int."""
        low, high = self.floats or self.ints or (0.0, 1.0)
        return low, high

    @property
    def values(self) -> tuple[Any, ...]:
        """All values of a choice or a boolean, of numbers the lowest and the highest."""
        if self.boolean:
            return (False, True)
        return self.choice if self.choice is not None else self.range

    def describe(self) -> str:
        """Returns it as it is written, e.g. `float 0.0001 to 0.1, log`."""
        if self.boolean:
            return self.kind
        if self.choice is not None:
            return f"{self.kind} {', '.join(map(str, self.values))}"
        low, high = self.range
        return (
            f"{self.kind} {low:g} to {high:g}"
            + (", log" if self.log else "")
            + (f", step {self.step:g}" if self.step else "")
        )

    def _check_choice(self, values: tuple[Any, ...]) -> None:
        if not values:
            raise ValueError("choice is empty: give at least two values")
        if any(value in values[:index] for index, value in enumerate(values)):
            raise ValueError(f"choice has a value twice: {list(values)}")
        for value in values:
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    "a value of a choice is a finite number, a text, true, false, or a list or"
                    f" table of these, found {value}"
                ) from error

    def _check_range(self, low: float, high: float) -> None:
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"expected finite numbers, found [{low:g}, {high:g}]")
        if low >= high:
            raise ValueError(
                f"expected the lowest value before a greater one, found [{low:g}, {high:g}]"
            )
        if self.log and low <= 0:
            raise ValueError(f"log needs a lowest value above 0, found {low:g}")
        if self.step and self.log and self.step <= 1:
            raise ValueError(f"with log the step is a quotient above 1, found {self.step:g}")
        if self.step and self.ints and not self.step.is_integer():
            raise ValueError(f"the step of an int is a whole number, found {self.step:g}")
        way = high / low if self.log else high - low
        if self.step and way < self.step * (1 - 1e-9):  # 0.3 - 0.2 is less than 0.1
            raise ValueError(
                f"step {self.step:g} is longer than the way from {low:g} to {high:g}, so there is"
                " only one value"
            )


class TuneConfig(Section):
    """How hyperparameters are searched for."""

    algorithm: Literal["random", "hyperband", "bayesian", "grid"] = Field(
        "random",
        description="random; bayesian: where earlier trials let hope; grid: all combinations;"
        " hyperband: many short trials, of which the best go on",
    )
    trials: Positive | None = Field(
        None,
        description="most trials; default: 20 of random and bayesian, no limit with a budget;"
        " all of grid and hyperband",
    )
    objective: str = Field(
        "auto", description="value whose best epoch is a trial's score; auto: train.monitor"
    )
    budget: str | None = Field(
        None, description="time after which no trial goes on, e.g. 90s, 30m, 2h"
    )
    executions: Positive = Field(1, description="trainings of a trial, each with its own seed")
    factor: int = Field(
        3, ge=2, description="hyperband: a round keeps one in so many, which train so many times on"
    )
    iterations: Positive = Field(1, description="hyperband: how often all its brackets are run")
    space: dict[str, Hyperparameter] = Field({}, description="what is varied, by config key")

    @property
    def most_trials(self) -> int | None:
        """Most trials; `None` where the algorithm or the budget alone decides."""
        if self.trials is not None or self.algorithm in ("grid", "hyperband") or self.budget:
            return self.trials
        return _TRIALS

    @field_validator("space", mode="before")
    @classmethod
    def _dotted(cls, space: Any) -> Any:
        if not isinstance(space, Mapping):
            return space
        return _flatten(space, stop=_is_hyperparameter)

    @field_validator("space")
    @classmethod
    def _parents_first(cls, space: dict[str, Hyperparameter]) -> dict[str, Hyperparameter]:
        """Puts what others depend on before them: TOML's tables have no order."""
        ordered: dict[str, Hyperparameter] = {}
        waiting = dict(space)
        while waiting:
            ready = (k for k, h in waiting.items() if not any(p in waiting for p in h.when))
            # Where there is none, they depend on each other, which is refused below.
            key = next(ready, next(iter(waiting)))
            ordered[key] = waiting.pop(key)
        return ordered

    @field_validator("budget")
    @classmethod
    def _readable(cls, budget: str | None) -> str | None:
        if budget is not None:
            seconds_of(budget)
        return budget

    @model_validator(mode="after")
    def _check_space(self) -> TuneConfig:
        problems = [problem for key in self.space for problem in self._problems(key)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self, key: str) -> Iterator[str]:
        """What contradicts itself in the space, about one key."""
        if any(key == fixed or key.startswith(f"{fixed}.") for fixed in _FIXED):
            yield f"tune.space.{key}: it cannot be searched, being about the search itself"
        if key == "train.epochs" and self.algorithm == "hyperband":
            yield "tune.space.train.epochs: hyperband decides how long a trial trains; leave it out"
        for other in self.space:
            if other.startswith(f"{key}."):
                yield f"tune.space.{key}: it holds {other}, so only one of them can be searched"
        before = list(self.space)[: list(self.space).index(key)]
        for parent, values in self.space[key].when.items():
            if parent not in self.space:
                near = did_you_mean(parent, self.space)
                yield f"tune.space.{key}: it depends on {parent}, which is not in the space.{near}"
            elif parent not in before:
                yield f"tune.space.{key}: it depends on {parent}, in a circle"
            else:
                yield from _never_taken(key, parent, self.space[parent], values)


def seconds_of(text: str) -> float:
    """Returns a time such as `90s`, `30m`, `1.5h` or `1d` in seconds.

    Raises:
        ValueError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"expected a time with its unit, e.g. 90s, 30m, 2h or 1d, found {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def empty_space() -> str:
    """Returns what is said when there is nothing to search."""
    return (
        "tune.space is empty, so there is nothing to search. Give the config a table [tune.space]"
        f" with a line such as {_EXAMPLE}, or type"
        " --set 'tune.space.train.optimizer.learning_rate={float=[1e-4,1e-1],log=true}'"
    )


def _never_taken(
    key: str, parent: str, hyperparameter: Hyperparameter, values: tuple[Any, ...]
) -> Iterator[str]:
    if hyperparameter.kind in ("float", "int"):
        yield (
            f"tune.space.{key}: it depends on {parent}, which has numbers from a lowest to a"
            " highest; let that be a choice"
        )
        return
    missing = [repr(value) for value in values if value not in hyperparameter.values]
    if missing or not values:
        yield (
            f"tune.space.{key}: it depends on {parent} being {', '.join(missing) or 'nothing'}, but"
            f" that is one of {', '.join(map(repr, hyperparameter.values))}"
        )


def _is_hyperparameter(value: Any) -> bool:
    """Tells a hyperparameter, also a misspelt one, from a table of several."""
    if not isinstance(value, Mapping) or not value:
        return True
    plain = [word for word, inner in value.items() if not isinstance(inner, Mapping)]
    return any(kind in value for kind in KINDS) or any(
        difflib.get_close_matches(word, _WORDS, cutoff=0.7) for word in plain
    )


def _flatten(values: Mapping[str, Any], stop: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if stop(value):
            flat[prefix + key] = value
        else:
            flat |= _flatten(value, stop, f"{prefix}{key}.")
    return flat
