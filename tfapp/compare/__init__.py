"""The same program on several engines, from the same arrays, compared step by step.

    from tfapp.compare import compare_programs

    comparison = compare_programs(["two-layer"], engines=["eager", "torch"])
    comparison.agrees
    comparison.programs[0].row("torch").parity.loss.largest

An engine is a way to compute: a TF1 session, eager TensorFlow, XLA, `fit`, PyTorch, NumPy. Every
step of it gives the loss before the update, the gradients and the weights after the update, and
these are laid beside those of the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.compare.comparison import compare_programs as compare_programs
    from tfapp.compare.parity import compare_traces as compare_traces
    from tfapp.compare.results import Comparison as Comparison
    from tfapp.compare.trace import Step as Step

_MODULES = {
    "comparison": ("compare_programs",),
    "parity": ("compare_traces",),
    "results": ("Comparison",),
    "trace": ("Step",),
}

__getattr__, __all__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return __all__
