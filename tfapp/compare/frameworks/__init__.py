"""The same network by hand and in four frameworks: what a user writes, and what comes out.

from tfapp.compare.frameworks import study_frameworks

study = study_frameworks()
study.row("torch_module").lines.own, study.row("torch_module").weights
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.compare.frameworks.results import FrameworkStudy as FrameworkStudy
    from tfapp.compare.frameworks.study import study_frameworks as study_frameworks

_MODULES = {
    "results": ("FrameworkStudy",),
    "study": ("study_frameworks",),
}

__getattr__, __all__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return __all__
