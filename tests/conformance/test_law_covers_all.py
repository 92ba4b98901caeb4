"""Law 0: no model is registered without going through the laws."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from descriptors import DESCRIPTORS

from tfapp import names
from tfapp.models import list_models


def class_definition(path: str) -> ast.ClassDef:
    module, _, name = path.partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)


def test_descriptors_are_exactly_the_registered_models():
    assert [case.name for case in DESCRIPTORS] == sorted(names.MODELS)


def test_catalogue_lists_exactly_the_registered_models():
    assert [summary.name for summary in list_models()] == sorted(names.MODELS)


def test_catalogue_says_what_the_docstrings_say():
    for summary in list_models():
        docstring = ast.get_docstring(class_definition(names.MODELS[summary.name]))
        assert docstring is not None
        assert summary.description == docstring.splitlines()[0]


def test_catalogue_declares_the_output_kind_of_the_class():
    for summary in list_models():
        assert names.import_object("model", names.MODELS[summary.name]).output_kind == (
            summary.output_kind
        )
