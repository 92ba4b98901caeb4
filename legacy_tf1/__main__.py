"""The command: `python -m legacy_tf1 list` and `python -m legacy_tf1 run NAME`.

Exit codes: 0 everything is as it must be, 2 what was typed cannot be meant, 3 a number is not what
it must be.
"""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from legacy_tf1.program import Outcome, Program
from legacy_tf1.programs import PROGRAMS

DONE, USAGE, DIFFERENT = 0, 2, 3
SCHEMA_VERSION = 1


class _Refused(Exception):
    """What was typed cannot be meant; the message says why."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise _Refused(f"{message}. See: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code.

    Args:
        arguments: Words after `python -m legacy_tf1`; those of this process when omitted.
    """
    try:
        typed = _parser().parse_args(arguments)
        if typed.command == "list":
            return _list(typed.json)
        return _run(_program(typed.name), _steps(typed.steps), typed.json)
    except SystemExit as request:  # argparse has shown its help
        return int(request.code or 0)
    except BrokenPipeError:  # whoever read has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except _Refused as refusal:
        sys.stderr.write(f"error: {refusal}\n")
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m legacy_tf1",
        description="TF1 programs as tf.compat.v1 sessions, beside the numbers they must give.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="Name every program and what it shows.")
    running = commands.add_parser("run", help="Run a program and check its numbers.")
    running.add_argument("name", metavar="NAME", help="One of the names that list shows.")
    running.add_argument("--steps", metavar="N", help="How many steps; its own number if omitted.")
    for command in (listing, running):
        command.add_argument("--json", action="store_true", help="Write one JSON object.")
    return parser


def _program(name: str) -> Program:
    if name in PROGRAMS:
        return PROGRAMS[name]
    near = difflib.get_close_matches(name.lower(), PROGRAMS, n=1, cutoff=0)
    raise _Refused(
        f"NAME: found {name!r}, allowed {', '.join(PROGRAMS)}, did you mean {near[0]!r}?"
    )


def _steps(typed: str | None) -> int | None:
    if typed is None:
        return None
    try:
        steps = int(typed)
    except ValueError:
        steps = 0
    if steps < 1:
        raise _Refused(f"--steps: found {typed!r}, allowed whole numbers from 1 up")
    return steps


def _list(as_json: bool) -> int:
    programs = PROGRAMS.values()
    if as_json:
        keys = ("name", "source", "teaches", "steps")
        rows = [{key: getattr(program, key) for key in keys} for program in programs]
        return _write_json({"programs": rows})
    width = max(map(len, PROGRAMS))
    for program in programs:
        _write(f"{program.name:{width}}  {program.teaches}", f"{'':{width}}  [{program.source}]")
    return DONE


def _run(program: Program, steps: int | None, as_json: bool) -> int:
    outcome = program.run(steps)
    if as_json:
        described = {"name": program.name, "steps": steps or program.steps}
        described |= {"holds": outcome.holds, **asdict(outcome)}
        _write_json(described)
    else:
        _write(f"{program.name} [{program.source}], steps: {steps or program.steps}")
        _write(*_value_lines(outcome), *_check_lines(outcome))
    return DONE if outcome.holds else DIFFERENT


def _value_lines(outcome: Outcome) -> list[str]:
    lines = []
    for name, value in outcome.values.items():
        if isinstance(value, list):
            shown = [f"{number:.8g}" for number in value]
            if len(shown) > 6:
                shown[3:-2] = ["..."]
            lines.append(f"  {name}: {', '.join(shown)}")
        else:
            lines.append(f"  {name}: {value:.8g}")
    return lines


def _check_lines(outcome: Outcome) -> list[str]:
    lines = [
        f"  {'ok ' if check.holds else 'NOT'} {check.name}: expected {check.expected},"
        f" found {check.found} ({check.origin})"
        for check in outcome.checks
    ]
    lines += [f"  not checked: {name}" for name in outcome.unchecked]
    wrong = [check.name for check in outcome.checks if not check.holds]
    total = len(outcome.checks)
    if wrong:
        return [*lines, f"{len(wrong)} of {total} do not match: {'; '.join(wrong)}"]
    return [*lines, f"all {total} that were checked match"]


def _write_json(content: dict[str, Any]) -> int:
    plain = _finite({"schema_version": SCHEMA_VERSION, **content})
    _write(json.dumps(plain, indent=2, allow_nan=False))
    return DONE


def _finite(value: Any) -> Any:
    """Returns the value with null for what JSON has no number for: NaN and infinity."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    # TensorFlow warns that what TF1 had is deprecated. Here it is called on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.exit(main())
