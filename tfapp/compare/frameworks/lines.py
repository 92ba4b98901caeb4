"""Counts the lines of code of a Python source, by its tokens.

    count_lines(source).code
    count_lines(source).functions["Network.forward"]

A line counts if code stands on it: not if it is empty or holds only a comment or a part of a
docstring. Lines of imports count apart. A statement over several lines counts as many.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT}
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class LineCount:
    """Lines of code of a source.

    Attributes:
        code: All of them but imports.
        imports: Those of imports.
        functions: Those of each function `name` and method `Class.name`, with its decorators and
            without its imports.
    """

    code: int
    imports: int
    functions: Mapping[str, int]


def count_lines(source: str) -> LineCount:
    """Counts the lines of a source.

    Raises:
        SyntaxError: It is not Python.
    """
    tree = ast.parse(source)
    code: set[int] = set()
    imports: set[int] = set()
    for tokens in _statements(source):
        lines = {n for token in tokens for n in range(token.start[0], token.end[0] + 1)}
        if tokens[0].string in ("import", "from"):
            imports |= lines
        elif any(token.type != tokenize.STRING for token in tokens):
            code |= lines
    functions = {name: len(code.intersection(lines)) for name, lines in _functions(tree)}
    return LineCount(len(code), len(imports), functions)


def _statements(source: str) -> Iterator[list[tokenize.TokenInfo]]:
    """Yields the tokens of each statement, or the head of one; a docstring is a single string."""
    tokens = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.NEWLINE, tokenize.ENDMARKER):
            if token.type not in _LAYOUT:
                tokens.append(token)
        elif tokens:
            yield tokens
            tokens = []


def _functions(tree: ast.Module) -> Iterator[tuple[str, range]]:
    """Yields the functions of a module and the methods of its classes, with their lines."""
    for node in tree.body:
        if isinstance(node, _Function):
            yield node.name, _lines_of(node)
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, _Function):
                    yield f"{node.name}.{inner.name}", _lines_of(inner)


def _lines_of(function: _Function) -> range:
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return range(first, (function.end_lineno or first) + 1)
