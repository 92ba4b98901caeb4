"""What KerasTuner hands to `build(hp)`, with values that were given, and what `build` declares.

Imported only once a HyperModel was found: it imports KerasTuner.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import keras_tuner
from keras_tuner.engine.hyperparameters import Float, Int

from tfapp.errors import ModelMismatch

# Spreading by logarithm ends a little beside the bound.
_ROUNDING = 1e-9
# Builds that look for hyperparameters; one with layers that are counted needs three.
_MOST_BUILDS = 40


class GivenHyperParameters(keras_tuner.HyperParameters):
    """Gives each hyperparameter the value that was given for it, else its default.

    A value is looked at when `build` declares what may be, before anything is made of it.
    Like KerasTuner's, `values` holds those of the active ones only.

    Args:
        given: Values by name; those of hyperparameters that are never declared are not used.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self._given = given

    def Boolean(self, *args: Any, **options: Any) -> Any:
        """Declares a boolean."""
        return self._settle(super().Boolean, *args, **options)

    def Choice(self, *args: Any, **options: Any) -> Any:
        """Declares a choice."""
        return self._settle(super().Choice, *args, **options)

    def Fixed(self, *args: Any, **options: Any) -> Any:
        """Declares what is not searched."""
        return self._settle(super().Fixed, *args, **options)

    def Float(self, *args: Any, **options: Any) -> Any:
        """Declares a number."""
        return self._settle(super().Float, *args, **options)

    def Int(self, *args: Any, **options: Any) -> Any:
        """Declares a whole number."""
        return self._settle(super().Int, *args, **options)

    def _settle(self, declare: Callable[..., Any], *args: Any, **options: Any) -> Any:
        known = len(self.space)
        value = declare(*args, **options)
        for declared in self.space[known:]:
            if declared.name in self._given and self.is_active(declared):
                value = allowed(declared, self._given[declared.name])
                self.values[declared.name] = value
        return value


def check_given(found: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Refuses values that no declaration of their name allows, whatever its conditions are.

    Raises:
        ModelMismatch: For the first such value.
    """
    for name, value in given.items():
        alike = [declared for declared in found if declared.name == name]
        if alike and not any(_fitting(declared, value) for declared in alike):
            allowed(alike[0], value)


def allowed(declared: Any, value: Any) -> Any:
    """Returns `value` in the type that was declared.

    Raises:
        ModelMismatch: It is none that the hyperparameter may have.
    """
    for fitting in _fitting(declared, value):
        return fitting
    raise ModelMismatch(
        f"model.options.{declared.name} must be {allowance(declared)}, as the HyperModel declares"
        f" it, found {value!r}."
    )


def _fitting(declared: Any, value: Any) -> list[Any]:
    """Returns the declared value that `value` stands for, or nothing."""
    if not isinstance(declared, (Float, Int)):
        return [v for v in declared.values if v == value and _is_bool(v) == _is_bool(value)][:1]
    if _is_bool(value) or not isinstance(value, int if isinstance(declared, Int) else (int, float)):
        return []
    low, high = declared.min_value, declared.max_value
    if isinstance(declared, Int):
        return [value] if low <= value <= high else []
    slack = _ROUNDING * max(abs(low), abs(high))
    return [min(max(float(value), low), high)] if low - slack <= value <= high + slack else []


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def describe(declared: Any) -> str:
    """Returns what is declared, in words, e.g. `a whole number from 32 to 256, step 32`."""
    words = [allowance(declared)]
    if isinstance(declared, (Float, Int)):
        if declared.sampling != "linear":
            words.append(declared.sampling)
        if declared.step and (isinstance(declared, Float) or declared.step != 1):
            words.append(f"step {declared.step:g}")
    conditions = [f"{c.name} is {' or '.join(map(repr, c.values))}" for c in declared.conditions]
    return ", ".join(words) + (f" where {' and '.join(conditions)}" if conditions else "")


def allowance(declared: Any) -> str:
    """Returns what values the hyperparameter may have, e.g. `a whole number from 1 to 4`."""
    if isinstance(declared, Int):
        return f"a whole number from {declared.min_value} to {declared.max_value}"
    if isinstance(declared, Float):
        return f"a number from {declared.min_value:g} to {declared.max_value:g}"
    values = [repr(value) for value in declared.values]
    return f"one of {', '.join(values)}" if len(values) > 1 else values[0]


def explore(build: Callable[[GivenHyperParameters], Any], given: Mapping[str, Any]) -> list[Any]:
    """Returns every hyperparameter that `build` declares, parents before children.

    It is built with the defaults; then with other values of what that has declared, all of them
    changed at a time, and so on with what comes up; then for each scope of `conditional_scope`
    that has not been entered yet. What shows under rarer combinations only is not found.

    Args:
        build: Declares hyperparameters and makes a model, which is dropped.
        given: Values that stay.

    Returns:
        KerasTuner's hyperparameters; one name comes several times if its conditions differ.

    Raises:
        Exception: `build` raised with the defaults; where it refuses other values does not matter.
    """
    found: dict[Hashable, Any] = {}
    varied: set[str] = set()
    waiting: list[dict[str, Any]] = [{}]
    scopes: dict[Hashable, dict[str, Any]] = {}  # values that lead into those not yet entered
    done: set[Hashable] = set()
    for number in range(_MOST_BUILDS):
        if not waiting:
            scope = next((scope for scope in scopes if scope not in done), None)
            if scope is None:
                break
            done.add(scope)
            waiting.append(scopes[scope])
        hp = GivenHyperParameters({**waiting.pop(0), **given})
        with suppress(Exception) if number else nullcontext():
            build(hp)
        for declared in hp.space:
            found.setdefault((declared.name, _key(declared.conditions)), declared)
        free = [d for d in hp.space if hp.is_active(d) and d.name not in {*given, *varied}]
        varied.update(declared.name for declared in free)
        waiting += _variations(free, hp.values)
        done.update(map(_key, hp.active_scopes))
        for conditions in hp.inactive_scopes:
            inside = {condition.name: condition.values[0] for condition in conditions}
            scopes.setdefault(_key(conditions), {**hp.values, **inside})
    return list(found.values())


def _variations(free: Sequence[Any], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns as many settings as it takes to give everything each of its other values."""
    others = {declared.name: _others(declared, values[declared.name]) for declared in free}
    rounds = max(map(len, others.values()), default=0)
    return [
        {**values, **{name: other[i % len(other)] for name, other in others.items() if other}}
        for i in range(rounds)
    ]


def _others(declared: Any, value: Any) -> list[Any]:
    """Returns the values that may make `build` declare something else."""
    if isinstance(declared, Float):
        return []
    if isinstance(declared, Int):  # a number of layers: the highest shows all of them
        candidates = [declared.max_value, declared.min_value]
    else:
        candidates = list(declared.values)
    return [candidate for candidate in candidates if candidate != value]


def _key(conditions: Sequence[Any]) -> Hashable:
    return tuple((condition.name, tuple(condition.values)) for condition in conditions)
