"""On which devices a training runs: one, several of a machine, several machines, a TPU.

    place = find_place("auto")
    place.name, place.replicas, place.reason     # "mirrored", 2, "2 GPUs"
    with place.strategy.scope():
        ...                                      # make every variable here

TensorFlow wants to be told before its first operation, and of most strategies allows one a
process; asking again gives the same.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import tensorflow as tf

from tfapp import names
from tfapp.data.pipeline import Part
from tfapp.errors import MissingError, UnknownName, UsageError, reason_of
from tfapp.settings import cluster_description, cpu_devices, tpu_name, wait_seconds
from tfapp.training.cluster import Cluster, read_cluster, wait_for_all


@dataclass(frozen=True)
class Place:
    """The devices of a training, and this process's part of them.

    Attributes:
        name: `one`, `mirrored`, `multiworker` or `tpu`.
        reason: One line for people.
        strategy: TensorFlow's; variables belong under its scope.
        cluster: All processes, if there are several.
    """

    name: str
    reason: str
    strategy: Any
    cluster: Cluster | None = None

    @property
    def replicas(self) -> int:
        """Copies of the model, over all processes; at least one each where none is connected."""
        return max(int(self.strategy.num_replicas_in_sync), self.workers)

    @property
    def worker(self) -> int:
        """This process's place among all."""
        return self.cluster.index if self.cluster else 0

    @property
    def workers(self) -> int:
        """Number of processes."""
        return len(self.cluster.addresses) if self.cluster else 1

    @property
    def devices(self) -> int:
        """Replicas of this process."""
        return self.replicas // self.workers

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run."""
        return self.worker == 0

    @property
    def part(self) -> Part | None:
        """What this process reads of each batch; `None` for one device."""
        return Part(self.worker, self.workers, self.replicas) if self.replicas > 1 else None


def find_place(name: str, *, connect: bool = True) -> Place:
    """Returns the devices that `train.strategy` asks for.

    Args:
        name: From `names.STRATEGIES`, or `auto`: the TPU of TPU_NAME, else the machines of
            TF_CONFIG, else all GPUs if there are several, else one device.
        connect: False to look only: of other machines and TPUs there is then no strategy, and
            of TPUs no number of replicas.

    Raises:
        UsageError: They are not there, or TF_CONFIG is wrong.
        TfappError: A worker did not answer in time.
    """
    if cpu_devices() > 1:
        _split_cpu(cpu_devices())
    name, reason = _settle(name)
    if not connect and name == "multiworker":
        return unconnected(read_cluster(cluster_description()), reason)
    if not connect and name == "tpu":
        return Place(name, reason, tf.distribute.get_strategy())
    match name:
        case "one":
            return Place("one", reason, tf.distribute.get_strategy())
        case "mirrored":
            devices = _devices()
            return Place("mirrored", reason, _mirrored(devices))
        case "multiworker":
            cluster = read_cluster(cluster_description())
            return Place("multiworker", reason, _multiworker(cluster), cluster)
        case "tpu":
            return Place("tpu", reason, _tpu(tpu_name()))
    raise UnknownName("strategy", name, (*names.STRATEGIES, "auto"))


def unconnected(cluster: Cluster, reason: str) -> Place:
    """Returns the place of workers that need not be there yet, to see what they would refuse.

    Args:
        cluster: All workers; only their number matters.
        reason: One line for people.
    """
    return Place("multiworker", reason, tf.distribute.get_strategy(), cluster)


def check_even(examples: int, batch_size: int) -> None:
    """Refuses a last batch of another size, for devices whose programs have fixed shapes.

    Args:
        examples: Of the training split.
        batch_size: Of all devices together.

    Raises:
        UsageError: The examples do not come out even.
    """
    if rest := examples % batch_size:
        raise UsageError(
            f"a TPU takes batches of one size, but of {examples:,} training examples"
            f" {rest} are left over after batches of {batch_size}. Choose data.batch_size,"
            " data.validation or data.test so that they come out even."
        )


def even_batch_size(examples: int, at_most: int, replicas: int) -> int:
    """Returns the largest batch that divides a split without rest and replicas share equally.

    Args:
        examples: Of the split.
        at_most: Largest size wanted.
        replicas: Copies of the model.

    Raises:
        UsageError: There is none.
    """
    sizes = range(at_most - at_most % replicas, 0, -replicas)
    if (size := next((size for size in sizes if examples % size == 0), None)) is None:
        raise UsageError(
            f"a TPU takes batches of one size, and its {replicas} cores cannot share"
            f" {examples:,} validation examples equally. Choose data.validation so that their"
            f" number is a multiple of {replicas}."
        )
    return size


def _settle(name: str) -> tuple[str, str]:
    """Returns which strategy it is, and why."""
    if name == "multiworker" and not cluster_description():
        raise UsageError(
            "train.strategy 'multiworker' needs TF_CONFIG, which names the machines. To start"
            " several workers on this machine: tfapp train --workers 2"
        )
    if name == "tpu" and not tpu_name():
        raise UsageError("train.strategy 'tpu' needs TPU_NAME, the name of the TPU.")
    if name in ("tpu", "auto") and tpu_name():
        return "tpu", f"TPU_NAME is {tpu_name()}"
    if name in ("multiworker", "auto") and cluster_description():
        workers = len(read_cluster(cluster_description()).addresses)
        if workers > 1:
            return "multiworker", f"{workers} workers in TF_CONFIG"
        if name == "multiworker":
            return "one", "one worker in TF_CONFIG"
    if name == "auto":
        gpus = len(tf.config.list_physical_devices("GPU"))
        return ("mirrored", f"{gpus} GPUs") if gpus > 1 else ("one", "one device")
    if name == "mirrored":
        return name, f"{len(_devices())} devices: {', '.join(_devices())}"
    return name, "as the config says"


def _devices() -> tuple[str, ...]:
    """Returns the devices that `mirrored` means: all GPUs, else what the CPU was split into."""
    for kind in ("GPU", "CPU"):
        found = tf.config.list_logical_devices(kind)
        if len(found) > 1 or (found and kind == "CPU"):
            break
    devices = tuple(device.name.rpartition("/device:")[2] for device in found)
    if len(devices) < 2:
        raise UsageError(
            f"train.strategy 'mirrored' needs two devices or more, here is one ({devices[0]})."
            " Use 'one' or 'auto'; to try it on the CPU, set TFAPP_CPU_DEVICES=2."
        )
    return devices


def _split_cpu(count: int) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * count
    if tf.config.get_logical_device_configuration(cpu) == parts:
        return
    try:
        tf.config.set_logical_device_configuration(cpu, parts)
    except RuntimeError as error:
        raise UsageError(
            "TFAPP_CPU_DEVICES comes too late: TensorFlow has been used already in this process."
            " Start a new one."
        ) from error


@cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    return tf.distribute.MirroredStrategy(list(devices))


@cache
def _multiworker(cluster: Cluster) -> Any:
    wait_for_all(cluster, seconds=wait_seconds())
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    try:
        with _own_handlers():
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise UsageError(
            "train.strategy 'multiworker' comes too late: TensorFlow has been used already in this"
            " process. Start a new one."
        ) from error


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Puts back how this process takes SIGTERM, which TensorFlow keeps for itself."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@cache
def _tpu(name: str) -> Any:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise MissingError(
            f"the TPU {name!r} of TPU_NAME cannot be used: {reason_of(error)}. Check its name, or"
            " use train.strategy 'one'."
        ) from error
