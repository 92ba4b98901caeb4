"""How far each engine may be from TF1, and why it is not nearer.

The numbers come from what can happen, not from what did: one rounding of a term where terms cancel,
the order of long sums, and one relu that rounding opens or closes. They hold for the default number
of steps; where a loss goes on towards zero, what is left of it becomes all rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfapp.compare.parity import Tolerance

TF1 = Tolerance(0.0, 0.0, 0.0)

_GRAPH = "Grappler rewrites its graph too, not always into the same operations."
_WRITTEN = "It computes as written; Grappler rewrites TF1's graph."
_FUSED = "A product and a sum are rounded once, together, and three terms near 50 leave 0.008."
_ORDER = "Sums and products are ordered in another way; so a relu may open for a row or close."
_FIT = "Keras writes mean and gradient with other operations; so a relu may open or close."


def _near(reason: str) -> Tolerance:
    """Returns a few roundings."""
    return Tolerance(1e-6, 1e-6, 1e-6, reason)


_SAME = {"tf1": TF1, "function": _near(_GRAPH), "eager": _near(_WRITTEN)}


def _polynomial() -> dict[str, Tolerance]:
    written = Tolerance(1e-5, 5e-7, 5e-7, _WRITTEN)
    # A weight collects a fiftieth of the roundings of its steps, 50 half ones at most.
    fused = Tolerance(2e-3, 3e-6, 3e-6, _FUSED)
    return {
        "tf1": TF1,
        "function": Tolerance(1e-5, 5e-7, 5e-7, _GRAPH),
        "eager": written,
        "xla": fused,
        "keras_fit": written,
        "torch": fused,
        "numpy": written,
    }


def _total() -> dict[str, Tolerance]:
    order = Tolerance(1e-6, 0.0, 0.0, "The twelve terms are added in another order.")
    return {"tf1": TF1} | dict.fromkeys(("function", "eager", "xla", "torch", "numpy"), order)


def _two_layer() -> dict[str, Tolerance]:
    # A relu that opens for one row of 64 in one of the first steps.
    order = Tolerance(5e-5, 0.02, 1e-4, _ORDER)
    return _SAME | {
        "xla": order,
        "keras_fit": _near("Keras takes the mean with other operations."),
        "torch": order,
        "numpy": order,
    }


def _mlp() -> dict[str, Tolerance]:
    # A relu that opens for one row of 200 changes a column of a gradient, and biases start at 0.
    order = Tolerance(1e-5, 0.02, 5e-4, _ORDER)
    return _SAME | {
        "xla": order,
        "keras_fit": Tolerance(1e-5, 0.02, 5e-4, _FIT),
        "torch": order,
        "numpy": order,
    }


def _cnn() -> dict[str, Tolerance]:
    order = Tolerance(1e-5, 1e-3, 1e-4, _ORDER)
    # 32 x 12 x 12 values of a channel make N = 4,608.
    biased = "Its moving variance divides by N where TF1's fused kernel divides by N - 1."
    return _SAME | {
        "xla": order,
        "keras_fit": Tolerance(1e-5, 1e-3, 3e-4, biased),
        "torch": order,
    }


TOLERANCES: Mapping[str, Mapping[str, Tolerance]] = {
    "polynomial": _polynomial(),
    "fed polynomial": _polynomial(),
    "sum": _total(),
    "two-layer": _two_layer(),
    "mlp": _mlp(),
    "cnn": _cnn(),
}
