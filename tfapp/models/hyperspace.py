"""From what a HyperModel declares to what a search of tfapp varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfapp.errors import UsageError
from tfapp.space import Hyperparameter

PREFIX = "model.options."
# A whole number on which others depend becomes a choice, if it has no more values than these.
_MOST_VALUES = 100

_When = dict[str, tuple[Any, ...]]


def space_of(declared: Sequence[Any], given: Mapping[str, Any]) -> dict[str, Hyperparameter]:
    """Returns what is searched, by config key.

    Args:
        declared: KerasTuner's hyperparameters, parents before children.
        given: Values by name. These are not searched, nor is what they rule out, nor what has one
            value only.

    Raises:
        UsageError: One of them cannot be searched as it is declared.
    """
    names = list(dict.fromkeys(hyperparameter.name for hyperparameter in declared))
    parents = {condition.name for each in declared for condition in each.conditions}
    settled = dict(given)
    space: dict[str, Hyperparameter] = {}
    for name in names:
        _check_name(name, names)
        if name in given:
            continue
        alike = [(d, _when(d, settled, space)) for d in declared if d.name == name]
        forms = [_form(d, name in parents) for d, when in alike if when is not None]
        if not forms:
            continue
        if any(form != forms[0] for form in forms):
            raise _unclear(name, "with different values", alike[0][0].default)
        if len(values := forms[0].get("choice", (None, None))) == 1:
            settled[name] = values[0]
            continue
        when = _either(name, [when for _, when in alike if when is not None])
        space[PREFIX + name] = Hyperparameter.model_validate({**forms[0], "when": when})
    return space


def _check_name(name: str, names: Sequence[str]) -> None:
    for other in names:
        if other.startswith(f"{name}."):
            raise UsageError(
                f"the hyperparameters {name!r} and {other!r} cannot both be keys of a config, where"
                " a dot leads into a table. Rename one of them."
            )


def _when(
    declared: Any, settled: Mapping[str, Any], space: Mapping[str, Hyperparameter]
) -> _When | None:
    """Returns the values that what is searched must have for it; `None` if it is never used."""
    when: _When = {}
    for condition in declared.conditions:
        key = PREFIX + condition.name
        if condition.name in settled:
            values = tuple(v for v in condition.values if v == settled[condition.name])
        else:
            parent = space[key].values if key in space else ()
            when[key] = values = tuple(v for v in when.get(key, parent) if v in condition.values)
        if not values:
            return None
    return when


def _form(declared: Any, is_parent: bool) -> dict[str, Any]:
    """Returns it as a config has it; one that has one value only as a choice of that."""
    kind = type(declared).__name__
    if kind == "Boolean":
        return {"boolean": True}
    if kind not in ("Float", "Int"):
        return {"choice": tuple(dict.fromkeys(declared.values))}
    low, high, step = declared.min_value, declared.max_value, declared.step
    log = declared.sampling == "log"
    if declared.sampling == "reverse_log":
        raise UsageError(
            f"hyperparameter {declared.name!r} is sampled by 'reverse_log', which tfapp does not"
            f" search by. Let it be 'linear' or 'log', or fix it: --set"
            f" {PREFIX}{declared.name}={declared.default}"
        )
    if low == high or (step and (high / low if log else high - low) < step):
        return {"choice": (low,)}
    if is_parent:
        if kind == "Float" or log or (high - low) // step >= _MOST_VALUES:
            raise UsageError(
                f"others depend on the hyperparameter {declared.name!r}, which is a number of many"
                f" values. Let it be a Choice, or fix it: --set {PREFIX}{declared.name}="
                f"{declared.default}"
            )
        return {"choice": tuple(range(low, high + 1, step))}
    form: dict[str, Any] = {kind.lower(): (low, high), "log": log}
    return form if not step or (kind == "Int" and step == 1) else {**form, "step": step}


def _either(name: str, whens: Sequence[_When]) -> _When:
    """Returns the condition that holds where one of them does."""
    merged = whens[0]
    for when in whens[1:]:
        if when.items() <= merged.items():
            merged = when
        elif not merged.items() <= when.items():
            apart = [key for key in {**merged, **when} if merged.get(key) != when.get(key)]
            if len(apart) > 1 or merged.keys() != when.keys():
                raise _unclear(name, "under conditions on different others", None)
            merged = {**merged, apart[0]: tuple(dict.fromkeys(merged[apart[0]] + when[apart[0]]))}
    return merged


def _unclear(name: str, how: str, default: Any) -> UsageError:
    fix = "" if default is None else f", or fix it: --set {PREFIX}{name}={default}"
    return UsageError(
        f"hyperparameter {name!r} is declared several times {how}. Give each a name of its"
        f" own{fix}."
    )
