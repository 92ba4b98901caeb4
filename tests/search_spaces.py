"""Spaces of every form for property tests, as a `[tune.space]` holds them."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

# `model.options` takes any value under any key, so that no config refuses them.
KEYS = [f"model.options.{name}" for name in ("a", "b", "c", "d", "deep.e", "deep.er.f")]

numbers = st.floats(-1e6, 1e6, width=32)
whole_numbers = st.integers(-10_000, 10_000)
plain_values = (
    st.booleans()
    | whole_numbers
    | numbers
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=6)
)
values = plain_values | st.lists(plain_values | st.lists(whole_numbers, max_size=2), max_size=3)


@st.composite
def floats(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        low = draw(st.floats(1e-6, 10))
        high = low * draw(st.floats(1.5, 1e4))
        most = math.log2(high / low)
        step = draw(st.none() | st.floats(2 ** (most / 6), 2**most))
        return {"float": [low, high], "log": True} | ({} if step is None else {"step": step})
    low, way = draw(numbers), draw(st.floats(0.125, 1e4, width=32))
    step = draw(st.none() | st.floats(way / 6, way))
    return {"float": [low, low + way]} | ({} if step is None else {"step": step})


@st.composite
def ints(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        low, quotient = draw(st.integers(1, 20)), draw(st.integers(2, 9))
        step = draw(st.none() | st.integers(2, quotient))
        made = {"int": [low, low * quotient], "log": True}
        return made | ({} if step is None else {"step": step})
    low, way = draw(whole_numbers), draw(st.integers(1, 8))
    step = draw(st.none() | st.integers(1, way))
    return {"int": [low, low + way]} | ({} if step is None else {"step": step})


@st.composite
def choices(draw: st.DrawFn) -> dict[str, Any]:
    drawn = draw(st.lists(values, min_size=1, max_size=4))
    unlike = [v for i, v in enumerate(drawn) if v not in drawn[:i]]  # 1, 1.0 and true are alike
    return {"choice": unlike}


@st.composite
def spaces(draw: st.DrawFn, *, most: int = 4) -> dict[str, dict[str, Any]]:
    """A space of up to `most` keys, in which later ones may depend on earlier ones."""
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=most, unique=True))
    space: dict[str, dict[str, Any]] = {}
    for key in keys:
        made = draw(floats() | ints() | choices() | st.just({"boolean": True}))
        parents = [k for k, other in space.items() if "choice" in other or "boolean" in other]
        when = {}
        for parent in (
            draw(st.lists(st.sampled_from(parents), max_size=2, unique=True)) if parents else []
        ):
            taken = space[parent].get("choice", [False, True])
            when[parent] = draw(st.lists(st.sampled_from(taken), min_size=1, max_size=2))
        space[key] = made | ({"when": when} if when else {})
    return space


def is_active(key: str, space: dict[str, dict[str, Any]], chosen: dict[str, Any]) -> bool:
    """Whether all that `key` depends on is there and has one of the values asked for."""
    when = space[key].get("when", {})
    return all(parent in chosen and chosen[parent] in taken for parent, taken in when.items())
