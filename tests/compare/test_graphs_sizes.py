"""Operations built and run: small graphs counted by hand, programs by laws, XLA by its text."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tensorflow as tf

from tfapp.compare.engines import tf1
from tfapp.compare.engines.tape import rewriting
from tfapp.compare.graphs import graph_size
from tfapp.compare.graphs.collected import function_stages, session_parts
from tfapp.compare.graphs.hlo import count_arguments, count_program
from tfapp.compare.graphs.operations import changes, count_operations
from tfapp.compare.graphs.steps import fed, fetches, tape_step
from tfapp.compare.programs import PROGRAMS
from tfapp.compare.roster import ENGINES
from tfapp.compare.task import Task

v1 = tf.compat.v1

DRAWN = [name for name, program in PROGRAMS.items() if program.draw is not None]

LOOP = """HloModule m, entry_computation_layout={(f32[4]{0}, s32[])->f32[4]{0}}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%fused (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  %zero = f32[] constant(0)
  %total = f32[] reduce(%p, %zero), dimensions={0}, to_apply=%add
  %spread = f32[4]{0} broadcast(%total), dimensions={}
  ROOT %double = f32[4]{0} add(%spread, %p), metadata={op_type="AddV2" op_name="x = y (z)"}
}

%body (state: (s32[], f32[4])) -> (s32[], f32[4]) {
  %state = (s32[], /*index=1*/f32[4]{0}) parameter(0)
  %turn = s32[] get-tuple-element(%state), index=0
  %value = f32[4]{0} get-tuple-element(%state), index=1
  %next = f32[4]{0} fusion(%value), kind=kLoop, calls=%fused
  ROOT %both = (s32[], f32[4]{0}) tuple(%turn, %next)
}

%condition (state.1: (s32[], f32[4])) -> pred[] {
  %state.1 = (s32[], f32[4]{0}) parameter(0)
  %turn.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %less = pred[] compare(%turn.1, %turn.1), direction=LT
}

ENTRY %main (x: f32[4], n: s32[]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %n = s32[] parameter(1)
  %start = (s32[], f32[4]{0}) tuple(%n, %x)
  %loop = (s32[], f32[4]{0}) while(%start), condition=%condition, body=%body
  %out = f32[4]{0} get-tuple-element(%loop), index=1
  ROOT %copy = f32[4]{0} copy(%out)
}
"""


def task_of(name: str) -> Task:
    return Task(PROGRAMS[name], PROGRAMS[name].draw(), 1)


def small_graph():
    """2 * 3 x - 2 * 3 x + 0, and x + 1, which nobody asks for."""
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [4], "x")
        six = tf.multiply(tf.constant(2.0), tf.constant(3.0))  # folded to one constant
        left, right = tf.multiply(x, six), tf.multiply(x, six)  # equal, so merged
        result = tf.add(tf.subtract(left, right), tf.constant(0.0))  # Grappler adds no 0
        tf.add(x, tf.constant(1.0))
        initialize = tf.no_op()
    training = SimpleNamespace(
        graph=graph, initialize=initialize, feeds=lambda step: {x: [1.0] * 4}
    )
    return training, result


def test_a_session_prunes_then_folds_and_grappler_rewrites():
    training, result = small_graph()
    built = count_operations([training.graph.as_graph_def()])
    assert built == {"Const": 4, "Mul": 3, "Sub": 1, "AddV2": 2, "NoOp": 1}
    needed = session_parts(training, result, folding=False, grappler=False)
    assert count_operations(needed) == {"Const": 3, "Mul": 3, "Sub": 1, "AddV2": 1}
    folded = session_parts(training, result, grappler=False)
    assert count_operations(folded) == {"Const": 2, "Mul": 1, "Sub": 1, "AddV2": 1}
    assert count_operations(session_parts(training, result))["AddV2"] == 0


def add_nothing(x):
    return tf.add(tf.multiply(x, 2.0), 0.0)


def stages(**options):
    function = tf.function(lambda x: add_nothing(x), autograph=False, **options)
    before, parts = function_stages(lambda: function(tf.ones(4)))
    return count_operations([before]), count_operations(parts)


def test_a_function_is_run_as_built_without_grappler():
    # Identity stands for the return.
    built = {"Const": 2, "Mul": 1, "AddV2": 1, "Identity": 1}
    with rewriting(grappler=False):
        assert stages() == (built, built)
    before, run = stages()
    assert before == built
    assert run["AddV2"] == 0  # adding 0 is dropped
    assert run["Mul"] == 1


def test_collecting_graphs_is_over_afterwards(caplog):
    stages()
    tf.summary.trace_on(graph=True)  # warns if a trace is still on
    tf.summary.trace_off()
    assert caplog.records == []


def test_no_graph_is_kept_of_what_comes_later():
    from tensorflow.python.eager import context

    stages()
    tf.function(lambda x: tf.exp(x), autograph=False)(tf.ones(4))
    # tf.summary alone goes on collecting when its trace is off.
    assert len(context.context().export_run_metadata().function_graphs) == 0


def test_the_function_that_is_called_last_is_told():
    def call():
        tf.function(lambda x: tf.exp(tf.sin(x) + tf.cos(x)), autograph=False)(tf.ones(4))
        tf.function(lambda x: tf.negative(x), autograph=False)(tf.ones(4))

    before, parts = function_stages(call)
    assert count_operations([before])["Neg"] == count_operations(parts)["Neg"] == 1
    assert count_operations([before])["Exp"] == 0


def test_a_collection_that_fails_is_over_as_well(caplog):
    def fail():
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        function_stages(fail)
    tf.summary.trace_on(graph=True)
    tf.summary.trace_off()
    assert caplog.records == []


def test_names_of_onednn_are_those_of_tensorflow():
    graph = v1.GraphDef()
    for op in ("_MklMatMul", "MatMul", "_MklNativeFusedMatMul", "_FusedMatMul", "_Arg", "_Retval"):
        graph.node.add(op=op)
    assert count_operations([graph]) == {"MatMul": 2, "FusedMatMul": 2}


def test_bodies_of_branches_and_loops_count():
    graph = v1.GraphDef()
    graph.node.add(op="If")
    for ops in (("Mul", "Const"), ("Mul",)):
        body = graph.library.function.add()
        for op in ops:
            body.node_def.add(op=op)
    assert count_operations([graph, graph]) == {"If": 2, "Mul": 4, "Const": 2}


def test_changes_tell_what_came_and_went():
    found = changes({"Pow": 2, "Mul": 1, "Add": 3}, {"Square": 1, "Mul": 1, "Add": 1})
    assert found == {"Add": -2, "Pow": -2, "Square": 1}


def closure(tensors) -> set[str]:
    """Returns the names of the operations that some depend on."""
    coming = [getattr(item, "op", item) for item in tensors]
    found = set()
    while coming:
        operation = coming.pop()
        if operation.name not in found:
            found.add(operation.name)
            coming += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_a_session_needs_what_its_fetches_depend_on(name):
    size = graph_size(task_of(name), "tf1")
    training = tf1.build(task_of(name))
    operations = training.graph.get_operations()
    placeholders = {op.name for op in operations if op.type == "Placeholder"}
    assert size.built == len(operations) - len(placeholders)
    assert size.needed == len(closure(tf.nest.flatten(fetches(training))) - placeholders)
    assert size.built >= size.needed >= size.plain
    assert size.run > 0
    assert sum(size.rewrites.values()) == size.run - size.plain


@pytest.mark.parametrize("name", DRAWN)
def test_a_function_runs_all_it_was_built_of_without_grappler(name):
    size = graph_size(task_of(name), "function")
    batch = fed(task_of(name))
    graph = tf.function(tape_step(task_of(name))).get_concrete_function(batch).graph
    placeholders = [op for op in graph.get_operations() if op.type == "Placeholder"]
    assert size.built == len(graph.get_operations()) - len(placeholders)
    assert 0 < size.run < size.built
    assert sum(size.rewrites.values()) == size.run - size.built
    with rewriting(grappler=False):
        plain = graph_size(task_of(name), "function")
    assert (plain.built, plain.run, plain.rewrites) == (size.built, size.built, {})


@pytest.mark.parametrize("engine", ["tf1", "function", "keras_fit"])
def test_a_power_of_two_becomes_a_square(engine):
    rewrites = graph_size(task_of("two-layer"), engine).rewrites
    assert rewrites["Pow"] < 0 < rewrites["Square"]


def test_a_graph_of_tf1_has_a_product_that_nobody_asked_for():
    # Two layers: 2 products forward; backward 2 for each layer, of which that for x is not needed.
    training = tf1.build(task_of("two-layer"))
    parts = session_parts(training, fetches(training), folding=False, grappler=False)
    assert count_operations(parts)["MatMul"] == 6
    assert count_operations(session_parts(training, fetches(training)))["MatMul"] == 5
    step, batch = tf.function(tape_step(task_of("two-layer"))), fed(task_of("two-layer"))
    before, _ = function_stages(lambda: step(batch))
    assert count_operations([before])["MatMul"] == 5


@pytest.mark.parametrize("name", ["quadratic", "graph", "two-layer"])
def test_xla_runs_fewer_kernels_than_instructions(name):
    size = graph_size(task_of(name), "xla")
    assert size.built == graph_size(task_of(name), "function").built
    assert 0 < size.fusions <= size.run < size.instructions
    assert size.run < size.optimized


@pytest.mark.parametrize("engine", list(ENGINES))
def test_sizes_are_told_where_there_is_a_graph(engine):
    size = graph_size(task_of("graph"), engine)
    assert (size is not None) == (engine in ("tf1", "function", "xla"))
    assert size is None or size.engine == engine


def test_an_hlo_text_is_counted_by_hand():
    program = count_program(LOOP)
    assert program.instructions == 3 + 5 + 5 + 3 + 6
    assert program.kernels == 3  # the fusion in the body, the comparison, the copy
    assert program.fusions == 1
    assert count_arguments(LOOP) == 2


def test_a_chain_of_elementwise_operations_is_one_kernel():
    function = tf.function(
        lambda x: tf.exp(tf.sin(x) * 2.0 + 1.0), jit_compile=True, autograph=False
    )
    text = function.experimental_get_compiler_ir(tf.ones(64))
    before, after = count_program(text(stage="hlo")), count_program(text(stage="optimized_hlo"))
    assert before.fusions == 0
    assert before.kernels >= 4
    assert (after.kernels, after.fusions) == (1, 1)
