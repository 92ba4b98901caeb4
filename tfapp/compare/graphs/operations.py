"""Counting the operations of a graph.

What goes in and out does not count: a placeholder becomes an argument when the graph is run, and
a result gets a node of its own, so only without them are two stages of a graph comparable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_PASSED = re.compile(r"Placeholder|_(Device)?(Arg|Retval)|_(Host)?(Send|Recv)")
# oneDNN takes operations over under names of its own; where it is missing they keep theirs.
_TAKEN_OVER = re.compile(r"^_Mkl(Native)?|^_(?=Fused)")


def count_operations(graphs: Iterable[Any]) -> Counter[str]:
    """Returns how many operations of each type there are.

    The bodies of branches, loops and other functions count, each once.

    Args:
        graphs: `GraphDef`s, the parts of one graph.
    """
    count: Counter[str] = Counter()
    for graph in graphs:
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            count.update(
                _TAKEN_OVER.sub("", node.op) for node in nodes if not _PASSED.fullmatch(node.op)
            )
    return count


def changes(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Returns by how much the number of each type has changed, where it has, by name."""
    types = sorted(before.keys() | after.keys())
    differences = {name: after.get(name, 0) - before.get(name, 0) for name in types}
    return {name: difference for name, difference in differences.items() if difference}
