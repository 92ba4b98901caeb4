"""The part of a graph that a signature computes, without its functions.

What is exported nowadays calls functions that call functions. Here their bodies stand where they
are called, so that one import tells the shapes of all tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_COMPILED = "_XlaMustCompile"
_LOOKUPS = frozenset({"LookupTableFind", "LookupTableFindV2"})
# A function may call itself, and functions that call others twice become exponentially many nodes.
_MOST_DEPTH = 50
_MOST_NODES = 100_000


class NotFlat(Exception):
    """The graph has a construction whose meaning is not known here."""


@dataclass(frozen=True)
class FlatGraph:
    """Nodes that stand for what a call computes.

    Attributes:
        definition: The `GraphDef`; no control inputs, since the order does not matter here.
        feeds: Names of the placeholders, in the order of the feeds.
        fetches: Names of the tensors to compute.
    """

    definition: Any
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]


@dataclass(frozen=True)
class Feed:
    """A tensor of the graph that is given.

    Attributes:
        name: Its name in the graph.
        dtype: Type of its elements.
        shape: Its dimensions, None for one that may vary.
    """

    name: str
    dtype: Any
    shape: Sequence[int | None]


def flatten(graph: Any, feeds: Sequence[Feed], fetches: Sequence[str]) -> FlatGraph:
    """Returns all that is computed for some tensors, each call of a function written out.

    Args:
        graph: A `GraphDef`.
        feeds: What is given, with the shapes to work with.
        fetches: Names of the tensors to compute.

    Raises:
        NotFlat: A tensor or a function is not there, or is made in a way that is not known here.
    """
    flattening = _Flattening(graph, feeds)
    flattening.write(fetches)
    return FlatGraph(
        flattening.definition,
        flattening.placeholders,
        tuple(map(flattening.name_of, fetches)),
    )


@dataclass
class _Scope:
    """A body whose nodes are written out: the graph's own, or that of a call.

    Attributes:
        prefix: Begins the names of its nodes.
        nodes: By the name they have in it.
        given: Names of flat tensors by what stands for them in the body.
        returns: What the body gives, as it names it.
        depth: How many calls lead to it.
        calls: Bodies of the calls in it, by the name of the node that calls.
    """

    prefix: str
    nodes: Mapping[str, Any]
    given: Mapping[str, str]
    returns: Sequence[str] = ()
    depth: int = 0
    calls: dict[str, _Scope] = field(default_factory=dict)


class _Flattening:
    def __init__(self, graph: Any, feeds: Sequence[Feed]) -> None:
        self._functions = {body.signature.name: body for body in graph.library.function}
        self.definition = tf.compat.v1.GraphDef(versions=graph.versions)
        self.placeholders = tuple(f"feeds/{index}" for index in range(len(feeds)))
        given = {}
        for feed, placeholder in zip(feeds, self.placeholders, strict=True):
            node = self.definition.node.add(name=placeholder, op="Placeholder")
            node.attr["dtype"].type = tf.as_dtype(feed.dtype).as_datatype_enum
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(feed.shape).as_proto())
            given[_with_index(feed.name)] = f"{placeholder}:0"
        self._graph = _Scope("0/", {node.name: node for node in graph.node}, given)
        self._scopes = 1

    def write(self, fetches: Sequence[str]) -> None:
        """Writes all out that some tensors of the graph hang on."""
        reached = self._reached(fetches)
        # In the order of the graph, where what is used comes before its use, as a rule.
        for name, node in self._graph.nodes.items():
            if name in reached:
                self._write(self._graph, node)

    def name_of(self, tensor: str) -> str:
        """Returns the flat name of a tensor of the graph."""
        return self._resolve(self._graph, tensor)

    def _reached(self, fetches: Sequence[str]) -> set[str]:
        """Returns the names of the nodes that are computed for some tensors."""
        reached: set[str] = set()
        todo = list(fetches)
        while todo:
            # An order counts, too: what must come before is computed, whoever takes its values.
            source = todo.pop()
            tensor = _with_index(source.lstrip("^"))
            node = self._node(self._graph, tensor.partition(":")[0])
            # Of what is fed only a placeholder need not run for those that wait for it.
            given = tensor in self._graph.given and (source[0] != "^" or node.op == "Placeholder")
            if not given and node.name not in reached:
                reached.add(node.name)
                todo.extend(node.input)
        return reached

    def _write(self, scope: _Scope, node: Any) -> None:
        if self._called(node):
            inner = self._enter(scope, node)
            for body_node in inner.nodes.values():
                self._write(inner, body_node)
            return
        if len(self.definition.node) >= _MOST_NODES:
            raise NotFlat(f"the graph has more than {_MOST_NODES} nodes")
        if node.op in _LOOKUPS:
            self._write_lookup(scope, node)
            return
        flat = self.definition.node.add(name=scope.prefix + node.name, op=node.op)
        flat.input.extend(self._resolve(scope, source) for source in _data_inputs(node))
        for key, value in node.attr.items():
            if value.placeholder:
                raise NotFlat(f"{node.name} has an attribute that its caller sets")
            if not key.startswith("_"):  # notes for placing and for gradients
                flat.attr[key].CopyFrom(value)

    def _write_lookup(self, scope: _Scope, node: Any) -> None:
        """Writes what stands for the values that a table of scalars has for keys.

        It has the shape of the keys, which TensorFlow's import would not tell of the original, and
        hangs on the same. A variable keeps anyone from taking the default for the value.
        """
        _, keys, default = (self._resolve(scope, source) for source in _data_inputs(node))
        name, value_type = scope.prefix + node.name, node.attr["Tout"].type
        shape = self.definition.node.add(name=f"{name}/shape", op="Shape", input=[keys])
        shape.attr["T"].type = node.attr["Tin"].type
        known = self.definition.node.add(name=f"{name}/known", op="VariableV2")
        known.attr["dtype"].type = tf.bool.as_datatype_enum
        known.attr["shape"].shape.CopyFrom(tf.TensorShape([]).as_proto())
        value = self.definition.node.add(
            name=f"{name}/value", op="SelectV2", input=[known.name, default, default]
        )
        values = self.definition.node.add(name=name, op="Fill", input=[shape.name, value.name])
        for each in (value, values):
            each.attr["T"].type = value_type

    def _called(self, node: Any) -> str:
        """Returns the name of the function that a node calls; empty if it calls none."""
        if node.op in _CALLS:
            return str(node.attr["f"].func.name)
        return str(node.op) if node.op in self._functions else ""

    def _enter(self, scope: _Scope, node: Any) -> _Scope:
        if node.name in scope.calls:
            return scope.calls[node.name]
        body = self._functions.get(self._called(node))
        sources = list(_data_inputs(node))
        if body is None or len(sources) != len(body.signature.input_arg):
            raise NotFlat(f"{node.name} calls a function that is not there")
        arguments = [*body.signature.input_arg, *body.signature.output_arg]
        if any(arg.number_attr or arg.type_list_attr for arg in arguments):
            raise NotFlat(f"{node.name} calls a function with lists of tensors")
        if _COMPILED in node.attr and node.attr[_COMPILED].b:
            raise NotFlat(f"{node.name} is compiled anew for each number of rows")
        if scope.depth >= _MOST_DEPTH:
            raise NotFlat(f"{node.name} is a call within {_MOST_DEPTH} others")
        if self._scopes >= _MOST_NODES:  # bodies may be of calls only
            raise NotFlat(f"the graph has more than {_MOST_NODES} calls")
        # Not the name of the call, which could begin that of another node.
        prefix = f"{self._scopes}/"
        self._scopes += 1
        inner = _Scope(
            prefix,
            {body_node.name: body_node for body_node in body.node_def},
            {
                arg.name: self._resolve(scope, source)
                for arg, source in zip(body.signature.input_arg, sources, strict=True)
            },
            [body.ret[arg.name] for arg in body.signature.output_arg],
            scope.depth + 1,
        )
        scope.calls[node.name] = inner
        return inner

    def _resolve(self, scope: _Scope, source: str) -> str:
        """Returns the flat name of a tensor that a body names."""
        if scope is self._graph:
            source = _with_index(source)
        if source in scope.given:
            return scope.given[source]
        name, _, rest = source.partition(":")
        node = self._node(scope, name)
        output, _, position = rest.rpartition(":")
        if not self._called(node):
            index = int(position) + (_output_offset(node, output) if output else 0)
            return f"{scope.prefix}{name}:{index}"
        inner = self._enter(scope, node)
        index = int(position)
        if output and node.op not in _CALLS:
            arguments = self._functions[node.op].signature.output_arg
            index += [arg.name for arg in arguments].index(output)
        return self._resolve(inner, inner.returns[index])

    def _node(self, scope: _Scope, name: str) -> Any:
        if name not in scope.nodes:
            raise NotFlat(f"there is no node {name}")
        return scope.nodes[name]


def _data_inputs(node: Any) -> Iterator[str]:
    return (source for source in node.input if not source.startswith("^"))


def _with_index(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def _output_offset(node: Any, output: str) -> int:
    """Returns how many tensors come before those that a body names by an output of a node."""
    # Private to TensorFlow; a test tells when it is gone.
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(node.op)
    offset = 0
    for argument in definition.output_arg if definition else ():
        if argument.name == output:
            return offset
        offset += _tensor_count(node, argument)
    raise NotFlat(f"{node.name} has no output {output}")


def _tensor_count(node: Any, argument: Any) -> int:
    if argument.number_attr:
        return int(node.attr[argument.number_attr].i)
    if argument.type_list_attr:
        return len(node.attr[argument.type_list_attr].list.type)
    return 1
