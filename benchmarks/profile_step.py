"""Tells on what a training step spends its time, by TensorFlow's own profiler.

    python benchmarks/profile_step.py --workload mlp-adam --loop resident

Runs a workload of `tfapp bench training` and adds up the durations of all operations, or of what
XLA has made of them, by what they are for. Operations that run at the same time count each for
itself. With the profiler on, small steps take longer than without: read the shares.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from tfapp.bench.contenders.tfapp_loop import config_of
from tfapp.bench.examples import write_examples
from tfapp.bench.workloads import WORKLOADS
from tfapp.config import Config
from tfapp.training.assembly import assemble
from tfapp.training.loops import Loop, ResidentLoop, build_loop
from tfapp.training.tape import TapeStep

# What an operation is for, by the first pattern that is found in its name.
_KINDS = {
    "check for NaN and Inf": r"/check/",
    "metrics": r"/metrics/",
    "optimizer": r"/(adam|sgd|SGD)/",
    "matrix products and convolutions": r"MatMul|convolution",
    "batch and scaling": r"Gather|preprocess/|GetNext",
    "batch normalization": r"/norm_\d",
    "pooling": r"/pool_\d",
    "relu and biases": r"Relu|relu|BiasAdd",
    "loss": r"cross_?entropy|square|CrossEntropy|SquaredDifference",
}
_REST = "the rest"


def main() -> None:
    """Prints microseconds and shares of a step by kind, and the longest operations."""
    arguments = _arguments()
    workload = WORKLOADS[arguments.workload]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "examples.npz"
        write_examples(workload, source)
        loop = _make_loop(arguments.loop, config_of(workload, source), Path(folder))
        loop.run(2 * workload.steps_per_epoch)
        started = time.perf_counter()
        loop.run(arguments.steps)
        seconds = (time.perf_counter() - started) / arguments.steps
        times = _profile(loop, arguments.steps, Path(folder) / "profile")
    kinds: Counter[str] = Counter()
    for name, microseconds in times.items():
        kinds[_kind(name)] += microseconds
    total = sum(kinds.values())
    print(f"{workload.name}, {arguments.loop}: {1e6 * seconds:,.0f} us a step without the profiler")
    print(f"{total:10,.0f} us in operations")
    for kind, microseconds in kinds.most_common():
        print(f"{microseconds:10,.1f} us  {microseconds / total:6.1%}  {kind}")
    print("longest")
    for name, microseconds in times.most_common(arguments.longest):
        print(f"{microseconds:10,.1f} us  {microseconds / total:6.1%}  {name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", choices=sorted(WORKLOADS), default="mlp-adam")
    parser.add_argument("--loop", choices=("resident", "streaming"), default="resident")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--longest", type=int, default=8, help="operations to list")
    return parser.parse_args()


def _make_loop(name: str, config: Config, folder: Path) -> Loop:
    parts = assemble(config, data_dir=folder)
    step = TapeStep(parts.predictor, parts.loss, parts.optimizer, parts.metrics)
    size, seed = config.data.batch_size, config.seed
    loop = build_loop(name, step, parts.splits.train, batch_size=size, seed=seed)
    loop.start(0)
    return loop


def _profile(loop: Loop, steps: int, folder: Path) -> Counter[str]:
    """Returns microseconds a step of each operation by its name in the graph."""
    names = _names_in_program(loop) if isinstance(loop, ResidentLoop) else {}
    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3, python_tracer_level=0)
    with tf.profiler.experimental.Profile(str(folder), options):
        loop.run(steps)
    times: Counter[str] = Counter()
    for name, microseconds in _events(next(folder.rglob("*.xplane.pb"))):
        if name in names:
            times[names[name]] += microseconds / steps
        elif not names and re.match(r"while/.*:\w+$", name):
            times[name] += microseconds / steps
    return times


def _events(file: Path) -> Iterator[tuple[str, float]]:
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                yield plane.event_metadata[event.metadata_id].name, event.duration_ps / 1e6


def _names_in_program(loop: ResidentLoop) -> dict[str, str]:
    """Returns the names in the graph of what XLA's program is made of, without its loop."""
    place = tf.constant(0), tf.constant(1)
    arguments = (loop._features, loop._labels, loop._order_of(0), *place, loop._batch_size)
    program = loop._run.experimental_get_compiler_ir(*arguments)(stage="optimized_hlo")
    found = re.finditer(r'%([\w.-]+) = \S+ ([\w-]+)\(.*?op_name="([^"]+)"', program)
    return {name: path for name, kind, path in (m.groups() for m in found) if kind != "while"}


def _kind(name: str) -> str:
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, name)), _REST)


if __name__ == "__main__":
    main()
