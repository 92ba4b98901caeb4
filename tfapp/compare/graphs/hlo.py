"""Counting in the text of an XLA program.

Such a text is a list of computations, and each of them a list of instructions:

    %fused (p: f32[4]) -> f32[4] {
      %p = f32[4]{0} parameter(0)
      ROOT %double = f32[4]{0} add(%p, %p)
    }

    ENTRY %main (x: f32[4]) -> f32[4] {
      %x = f32[4]{0} parameter(0)
      ROOT %twice = f32[4]{0} fusion(%x), kind=kLoop, calls=%fused
    }
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([^\s(]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%?\S+ = .*?\s([a-z][\w\-]*)\(")
_CALLED = re.compile(r"(?:calls|to_apply)=%?([^\s,}]+)")
_ARGUMENTS = re.compile(r"entry_computation_layout=\{\((.*?)\)->")
# What arranges values and computations, and computes nothing.
_ARRANGING = frozenset(
    ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional")
)


@dataclass(frozen=True)
class ProgramCount:
    """The counts of one program.

    Attributes:
        instructions: All there are, in every computation.
        kernels: Those that are run one by one and compute or copy: not what is inside a fusion or
            says how a reduction adds up. The body of a loop counts once.
        fusions: Kernels that do the work of several instructions.
    """

    instructions: int
    kernels: int
    fusions: int


def count_program(text: str) -> ProgramCount:
    """Counts instructions and kernels.

    Args:
        text: As `experimental_get_compiler_ir` returns it for `hlo` or `optimized_hlo`.
    """
    instructions = list(_instructions(text))
    inner = {
        called
        for _, name, line in instructions
        if name != "call"
        for called in _CALLED.findall(line)
    }
    kernels = [
        name
        for computation, name, _ in instructions
        if computation not in inner and name not in _ARRANGING and name != "call"
    ]
    return ProgramCount(len(instructions), len(kernels), kernels.count("fusion"))


def count_arguments(text: str) -> int:
    """Returns how many arrays go into a program; what was made a constant of it does not."""
    found = _ARGUMENTS.search(text)
    arguments = found.group(1) if found else ""
    return len(re.findall(r"\w+\[", arguments))


def _instructions(text: str) -> Iterator[tuple[str, str, str]]:
    """Yields the computation, the name and the line of every instruction."""
    computation = ""
    for line in text.splitlines():
        if header := _COMPUTATION.match(line):
            computation = header.group(1)
        elif instruction := _INSTRUCTION.match(line):
            yield computation, instruction.group(1), line
