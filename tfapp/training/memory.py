"""How much memory is left on the device that trains."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Returns the bytes free for examples: of the first GPU, else of the host.

    A container's limit counts where it is lower than the machine's. `None` where the system does
    not tell.
    """
    if gpus := tf.config.list_logical_devices("GPU"):
        return _free_on_gpu(gpus[0].name.rpartition("/device:")[2])
    return free_on_host()


def _free_on_gpu(name: str) -> int | None:
    # The only place that tells what TensorFlow itself may take of a GPU's memory.
    from tensorflow.python.client import device_lib

    for device in device_lib.list_local_devices():
        if device.name.endswith(name):
            used = tf.config.experimental.get_memory_info(name)["current"]
            return int(device.memory_limit - used)
    return None


def free_on_host(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Returns the bytes that a process may still take.

    Args:
        meminfo: Linux's account of the machine.
        cgroup: Folder with the container's limit, as version 2 of control groups writes it.
    """
    free = [_available(meminfo), _left_in_container(cgroup)]
    return min((size for size in free if size is not None), default=None)


def _available(meminfo: Path) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def _left_in_container(cgroup: Path) -> int | None:
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        words = iter((cgroup / "memory.stat").read_text().split())
        # Files that were read count as used, but give way.
        given_back = int(dict(zip(words, words, strict=True)).get("inactive_file", 0))
        return limit - max(0, used - given_back)
    except (OSError, ValueError):  # no control groups, or the limit is the word `max`
        return None
