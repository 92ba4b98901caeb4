"""Replaces a model twenty times while clients ask for it.

    python benchmarks/serving_swaps.py --versions 20

Clients by REST (rows, columns) and by gRPC ask without a pause. Each answer is compared with what
the version that it names has to say, and the version must have been there. The memory of the server
is measured after each swap. Exit code 0: no request failed, and the memory stayed as it was.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from serving_clients import Asking, clients_of
from serving_load import Report, Server, folder, parser, wait_until, write_version

# The first swaps fill the pools that TensorFlow and the allocator keep.
_SETTLED = 5
_GROWTH_MB_PER_SWAP = 4.0


def swap_versions(
    server: Server, base: Path, versions: int, clients: int, report: Report, megabytes: int = 0
) -> None:
    """Swaps the model in `base`, of which version 1 is served, through `versions` versions."""
    there = {1}
    asking = [
        Asking(client, seed, allowed=lambda: set(there))
        for seed, client in enumerate(clients_of(server, base.name, clients))
    ]
    for thread in asking:
        thread.start()
    memory = []
    for version in range(2, versions + 1):
        there.add(version)
        write_version(base, version, megabytes=megabytes)
        swapped = wait_until(lambda version=version: server.states(base.name) == _only(version))
        there.discard(version - 1)
        shutil.rmtree(base / str(version - 1))
        time.sleep(0.2)
        memory.append(server.rss_mb())
        if not swapped:
            report.require(False, f"version {version} took the place of the one before it")
            break
    for thread in asking:
        thread.stop()
    _tell(asking, versions, memory, report)


def _only(version: int) -> dict[int, str]:
    return {n: "AVAILABLE" if n == version else "END" for n in range(1, version + 1)}


def _tell(asking: list[Asking], versions: int, memory: list[float], report: Report) -> None:
    answered = sum(thread.answered for thread in asking)
    wrong = [text for thread in asking for text in thread.wrong]
    seen = set().union(*(thread.versions for thread in asking))
    report.tell(f"{answered} requests answered during {versions - 1} swaps")
    report.require(not wrong, f"no request failed or was answered wrong: {len(wrong)} were")
    for text in wrong[:5]:
        report.tell(f"       {text}")
    report.require(not any(thread.ended for thread in asking), "no client was sent away in between")
    report.require(seen == set(range(1, versions + 1)), f"every version answered: {len(seen)}")
    report.tell("MB after each swap: " + " ".join(f"{value:.0f}" for value in memory))
    settled = memory[_SETTLED - 1 :]
    if len(settled) > 2:
        # Robust against a single value: the later half against the earlier.
        half = len(settled) // 2
        growth = (min(settled[half:]) - min(settled[:half])) / half
        text = f"memory stays: {growth:+.1f} MB a swap after the first {_SETTLED}"
        report.require(growth < _GROWTH_MB_PER_SWAP, f"{text} (< {_GROWTH_MB_PER_SWAP:.0f})")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, versions=20, clients=6, megabytes=64).parse_args()
    report = Report()
    with folder() as made:
        base = made / "swapped"
        base.mkdir()
        write_version(base, 1, megabytes=arguments.megabytes)
        words = ("--model_name=swapped", f"--model_base_path={base}", *arguments.flag)
        with Server(made, words) as server:
            swap_versions(
                server, base, arguments.versions, arguments.clients, report, arguments.megabytes
            )
            report.require("Traceback" not in server.log(), "no traceback in the log")
    report.end()


if __name__ == "__main__":
    main()
