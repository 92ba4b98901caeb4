"""Writes the parts of docs/ that repeat what the code says, between their markers.

    python docs/generate_reference.py

A part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`. Everything around it
is written by hand; tests/docs compares each part with the code.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import tomli_w
from pydantic import BaseModel

import tfapp
from tfapp import names
from tfapp.cli import cli
from tfapp.cli.export import WithVerify, verify
from tfapp.config import Config
from tfapp.errors import ExitCode

DOCS = Path(__file__).parent
PART = re.compile(r"<!-- generated: ([\w ]+) -->\n.*?<!-- end of \1 -->", re.DOTALL)
_WIDTH = 96
_EXIT_CODES = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "it failed while running: a damaged file, a refusing disk, a bug",
    ExitCode.USAGE: "what was typed or configured cannot be meant, or does not fit the data",
    ExitCode.DIFFERS: "the work was done and its answer is no: an engine left its tolerance, or a"
    " study found what must not be",
    ExitCode.MISSING: "a file, run, checkpoint or data set that is needed is not there",
    ExitCode.DIVERGED: "training met NaN or Inf",
    ExitCode.INTERRUPTED: "Ctrl-C; training saves everything first",
    ExitCode.TERMINATED: "SIGTERM; training saves everything first",
    ExitCode.NOT_STARTED: "the server could not start, as TensorFlow Serving says it",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', 'or') for cell in row)} |" for row in lines)


def code(words: Sequence[str]) -> str:
    """Returns names as inline code, side by side."""
    return " ".join(f"`{word}`" for word in words)


def sections(
    section: type[BaseModel] = Config, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yields each table of the config with its dotted name, outer ones first."""
    yield ".".join(path), section
    for name, field in section.model_fields.items():
        if inner := _section_in(field.annotation):
            yield from sections(inner, (*path, name))


def config_reference() -> str:
    """Returns one table for each section of the config."""
    parts = []
    for name, section in sections():
        title = f"`[{name}]`" if name else "Top level"
        rows = [
            (f"`{key}`", _values(section, key), _default(field), field.description or "")
            for key, field in ((f.alias or k, f) for k, f in section.model_fields.items())
            if not _section_in(field.annotation) or field.description
        ]
        about = inspect.cleandoc(section.__doc__ or "")
        parts.append(
            f"### {title}\n\n{about}\n\n" + table(("key", "values", "default", "meaning"), rows)
        )
    return "\n\n".join(parts)


def optimizers() -> str:
    """Returns the optimizers with the options of their own, and what all of them take."""
    rows = [
        (f"`{name}`", f"`{maker}`", code(own)) for name, (maker, own) in names.OPTIMIZERS.items()
    ]
    shared = [option for option in names.OPTIMIZER_OPTIONS if option != "name"]
    return (
        table(("`name`", "`keras.optimizers`", "options of its own"), rows)
        + f"\n\nAll of them take: {code(shared)}."
    )


def schedules() -> str:
    """Returns the schedules with their options."""
    rows = [
        (f"`{name}`", f"`{maker}`" if maker else "the rate stays", code(options))
        for name, (maker, options) in names.SCHEDULES.items()
    ]
    return table(("`name`", "`keras.optimizers.schedules`", "options"), rows)


def losses() -> str:
    """Returns the names of losses."""
    return code(sorted((*names.LOSSES, names.OUTPUT_LOSS)))


def metrics() -> str:
    """Returns the names of metrics."""
    return code(sorted(names.METRICS))


def variables() -> str:
    """Returns the environment variable of each option that two commands show."""
    shown = [context for path, context in commands() if path in (("train",), ("predict",))]
    rows = [
        (f"`{context.command_path}`", f"`{option.opts[0]}`", f"`{option.envvar!s}`")
        for context in shown
        for option in context.command.params
        if isinstance(option, click.Option) and option.expose_value
    ]
    return table(("command", "option", "variable"), rows)


def commands(
    context: click.Context | None = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Context]]:
    """Yields every command with a context to ask it in, groups before what is in them."""
    context = context or _context(cli, "tfapp", None)
    yield path, context
    if isinstance(context.command, WithVerify):
        yield (*path, "verify"), _context(verify, f"{path[-1]} verify", context.parent)
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None:
                yield from commands(_context(command, name, context), (*path, name))


def command_line() -> str:
    """Returns what `--help` says, command by command."""
    return "\n\n".join(
        f"### {context.command_path}\n\n```text\n{_help(context)}\n```" for _, context in commands()
    )


def exit_codes() -> str:
    """Returns what each exit code means."""
    return table(
        ("exit code", "meaning"), [(str(int(code)), _EXIT_CODES[code]) for code in ExitCode]
    )


def errors() -> str:
    """Returns the tree of exceptions, as `tfapp.errors` draws it."""
    docstring = inspect.getdoc(importlib.import_module("tfapp.errors")) or ""
    tree = [line[4:] for line in docstring.splitlines() if line.startswith("    ")]
    return "```text\n" + "\n".join(tree) + "\n```"


def functions() -> str:
    """Returns the public names of `tfapp` with their arguments."""
    rows = []
    for name in tfapp.__all__:
        public = getattr(tfapp, name)
        if callable(public):
            first = (inspect.getdoc(public) or "").splitlines()[0]
            rows.append((f"`{name}{_arguments(public)}`", _result(public), first))
    return table(("call", "returns", "what it does"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "config": config_reference,
    "errors": errors,
    "exit codes": exit_codes,
    "functions": functions,
    "losses": losses,
    "metrics": metrics,
    "optimizers": optimizers,
    "schedules": schedules,
    "variables": variables,
}


def with_parts(text: str) -> str:
    """Returns a page with each of its generated parts as the code has it now."""

    def renewed(found: re.Match[str]) -> str:
        name = found[1]
        return f"<!-- generated: {name} -->\n{PARTS[name]()}\n<!-- end of {name} -->"

    return PART.sub(renewed, text)


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = command.context_settings | {
        "terminal_width": _WIDTH,
        "max_content_width": _WIDTH,
    }
    return click.Context(command, info_name=name, parent=parent, **settings)


def _help(context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in context.get_help().splitlines())


def _section_in(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _values(section: type[BaseModel], key: str) -> str:
    return _kind(section.model_json_schema()["properties"][key])


def _kind(schema: dict[str, Any]) -> str:
    """Returns a JSON schema in words: `whole number, at least 1`."""
    if "anyOf" in schema:
        return " or ".join(_kind(form) for form in schema["anyOf"] if form.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(_toml(value) for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "boolean":
        return f"{_toml(False)}, {_toml(True)}"
    if schema["type"] == "array":
        inner = schema.get("items") or next(iter(schema.get("prefixItems", [])), None)
        if inner is None:
            return "list"
        if "prefixItems" in schema:
            return f"[{', '.join([_kind(inner)] * len(schema['prefixItems']))}]"
        return f"list of {_kind(inner)}"
    kinds = {"integer": "whole number", "number": "number", "string": "text", "object": "table"}
    limits = (
        (("minimum", "≥"), ("exclusiveMinimum", ">"), ("exclusiveMaximum", "<"))
        if schema["type"] != "string"
        else ()
    )
    bounds = " and ".join(f"{sign} {schema[key]:g}" for key, sign in limits if key in schema)
    return f"{kinds[schema['type']]} {bounds}".strip()


def _toml(value: Any) -> str:
    return f"`{tomli_w.dumps({'x': value}).removeprefix('x = ').strip()}`"


def _default(field: Any) -> str:
    if field.default is None:
        return "none"
    if isinstance(field.default, bool | str):
        return _toml(field.default)
    text = str(field.default).replace("'", '"')
    return f"`{text}`"


def _arguments(public: Any) -> str:
    if isinstance(public, type) and issubclass(public, BaseModel):
        return f"(*, {', '.join(public.model_fields)})"
    if isinstance(public, type):
        return ""
    bare = [
        p.replace(
            annotation=inspect.Parameter.empty,
            default=... if callable(p.default) and p.default is not p.empty else p.default,
        )
        for p in inspect.signature(public).parameters.values()
    ]
    return str(inspect.Signature(bare)).replace("Ellipsis", "...")


def _result(public: Any) -> str:
    if isinstance(public, type):
        return ""
    return f"`{inspect.signature(public).return_annotation}`"


def main() -> None:
    """Renews every page."""
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (renewed := with_parts(text)) != text:
            page.write_text(renewed, encoding="utf-8")


if __name__ == "__main__":
    main()
