"""Static beside dynamic graphs: how large they are, what they cost, how control flow gets in.

    from tfapp.compare.graphs import study_graphs

    study = study_graphs()
    study.programs[0].sizes[0].built, study.programs[0].sizes[0].run
    study.control_flow

A session runs a graph that was built beforehand, a `tf.function` one that it builds from the first
call, and XLA compiles such a graph. Eager execution and PyTorch have none: they compute as Python
goes, and record what a gradient needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.compare.graphs.sizes import graph_size as graph_size
    from tfapp.compare.graphs.study import GraphStudy as GraphStudy
    from tfapp.compare.graphs.study import study_graphs as study_graphs

_MODULES = {"sizes": ("graph_size",), "study": ("GraphStudy", "study_graphs")}

__getattr__, __all__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return __all__
