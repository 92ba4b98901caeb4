"""The whole study: sizes and costs of training steps, control flow, retracing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tfapp.compare.graphs.control_flow import ControlRow, control_flow_rows
from tfapp.compare.graphs.costs import StepCost, step_costs
from tfapp.compare.graphs.findings import Finding, find_out
from tfapp.compare.graphs.growth import GrowthRow, growth_rows
from tfapp.compare.graphs.retracing import RetraceRow, retrace_rows
from tfapp.compare.graphs.sizes import SIZED, CompiledSize, GraphSize, graph_size
from tfapp.compare.programs import PROGRAMS, Program
from tfapp.compare.task import Task
from tfapp.errors import UsageError

Watch = Callable[[str], None]
Size = GraphSize | CompiledSize


@dataclass(frozen=True)
class ProgramGraphs:
    """The training step of one program.

    Attributes:
        program: Its name.
        about: What it computes.
        sizes: Of each engine that makes a graph of it.
        costs: Of each engine that is timed.
    """

    program: str
    about: str
    sizes: tuple[Size, ...]
    costs: tuple[StepCost, ...]


@dataclass(frozen=True)
class GraphStudy:
    """Static beside dynamic graphs.

    Attributes:
        agrees: Whether every construct that an engine computed has NumPy's values and gradients.
        programs: Sizes and costs.
        control_flow: Each construct on each engine.
        growth: Graphs of loops by the number of turns.
        findings: What was tried besides.
        retracing: How often a function is traced.
    """

    agrees: bool
    programs: tuple[ProgramGraphs, ...]
    control_flow: tuple[ControlRow, ...]
    growth: tuple[GrowthRow, ...]
    findings: tuple[Finding, ...]
    retracing: tuple[RetraceRow, ...]


def study_graphs(
    programs: Sequence[Program] | None = None,
    *,
    sizes: Mapping[str, Mapping[str, Size]] | None = None,
    watch: Watch = lambda part: None,
) -> GraphStudy:
    """Measures static and dynamic graphs in this process.

    Args:
        programs: Whose training steps are measured; all that bring their arrays when omitted.
            Control flow and retracing have programs of their own.
        sizes: What is known already, by program and engine.
        watch: Is told the name of each part when it begins.

    Raises:
        UsageError: A program brings no arrays.
    """
    if programs is None:
        programs = [program for program in PROGRAMS.values() if program.draw is not None]
    tasks = [_task(program) for program in programs]
    measured = []
    for task in tasks:
        watch(task.program.name)
        measured.append(_measure(task, (sizes or {}).get(task.program.name, {})))
    watch("control flow")
    control_flow = control_flow_rows()
    growth, findings = growth_rows(), find_out()
    watch("retracing")
    return GraphStudy(
        agrees=all(row.status != "differs" for row in control_flow),
        programs=tuple(measured),
        control_flow=control_flow,
        growth=growth,
        findings=findings,
        retracing=retrace_rows(),
    )


def _task(program: Program) -> Task:
    if program.draw is None:
        drawn = [name for name, other in PROGRAMS.items() if other.draw is not None]
        raise UsageError(
            f"{program.name} brings no arrays, and its graph is that of another program with"
            f" arrays. Programs with arrays: {', '.join(drawn)}."
        )
    return Task(program, program.draw(), steps=1)


def _measure(task: Task, known: Mapping[str, Size]) -> ProgramGraphs:
    sizes = (known.get(engine) or graph_size(task, engine) for engine in SIZED)
    return ProgramGraphs(
        program=task.program.name,
        about=task.program.about,
        sizes=tuple(size for size in sizes if size is not None),
        costs=step_costs(task),
    )
