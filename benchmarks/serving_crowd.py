"""Asks by many connections without a pause while a model is replaced, then ends the server.

    python benchmarks/serving_crowd.py --connections 32 --versions 10

So many that further processes read the requests. Each request has an input of its own and each
answer is checked; now and then a connection asks for something else, sends a request in two halves,
or hangs up in the middle of one and comes again. Exit code 0: every answer is right, no request is
lost in a swap or by the SIGTERM at the end, further processes have read most of the requests, and
none is left.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from serving_load import (
    COLUMNS,
    Report,
    Server,
    folder,
    parser,
    right,
    wait_until,
    write_version,
)

_ROWS = 60  # such a body has some two kilobytes
_ODD = 150  # one request in so many is another than most
_MOST_SECONDS = 30.0


@dataclass
class Crowd:
    """Connections that ask without a pause.

    Args:
        port: Of the server.
        model: Its name.
        allowed: The versions that may answer now.

    Attributes:
        answered: Answers that were right.
        wrong: What went wrong.
        versions: Those that have answered.
    """

    port: int
    model: str
    allowed: set[int]
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    versions: set[int] = field(default_factory=set)
    _told: bool = False

    async def ask(self, seed: int) -> None:
        """Asks by one connection until it is told to stop, or the server takes no more."""
        random = np.random.default_rng(seed)
        try:
            while not self._told:
                await self._connected(random)
        except ConnectionRefusedError:
            return
        except Exception as error:
            self.wrong.append(f"{error!r}"[:300])

    def stop(self) -> None:
        """Lets all end after the request under way."""
        self._told = True

    async def _connected(self, random: np.random.Generator) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while not self._told:
                odd = int(random.integers(_ODD)) == 0
                kind = int(random.integers(3)) if odd else None
                if kind == 0:
                    writer.write(
                        f"GET /v1/models/{self.model} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
                    )
                    await self._read(reader)
                    continue
                x = random.integers(-(10**5), 10**5, (_ROWS, COLUMNS)).astype(np.float32)
                body = json.dumps({"inputs": x.tolist()}).encode()
                head = f"POST /v1/models/{self.model}:predict HTTP/1.1\r\nHost: a\r\n"
                sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
                half = int(random.integers(1, len(sent))) if odd else len(sent)
                writer.write(sent[:half])
                if kind == 1:
                    return  # and comes again
                if kind == 2:
                    await asyncio.sleep(0.01)
                    writer.write(sent[half:])
                allowed = set(self.allowed)
                ends = await self._check(reader, x, allowed)
                if ends:
                    return
        finally:
            writer.close()

    async def _check(self, reader: asyncio.StreamReader, x: np.ndarray, allowed: set[int]) -> bool:
        """Checks an answer; returns whether it is the last of its connection."""
        status, ends, content = await self._read(reader)
        if status != 200:
            raise AssertionError(f"{status} {content[:200]!r}")
        outputs = json.loads(content)["outputs"]
        version = outputs["version"][0]
        if version not in allowed | self.allowed:
            raise AssertionError(f"version {version} answered, which was not there")
        if not np.array_equal(np.array(outputs["y"], np.float32), right(x, version)):
            raise AssertionError("an answer is that of another request")
        self.versions.add(version)
        self.answered += 1
        return ends

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        content = await reader.readexactly(size)
        return int(head.split(b" ")[1]), b"connection: close" in head, content


def readers_of(server: Server) -> list[psutil.Process]:
    """Returns the processes that read for a server."""
    return psutil.Process(server.process.pid).children()


async def swap_under_crowd(
    server: Server, base: Path, versions: int, connections: int, report: Report
) -> int:
    """Swaps the model in `base` through some versions under a crowd, then ends the server.

    Returns:
        How many of the connections were with another process at most, after any of the swaps.
    """
    crowd = Crowd(server.rest, base.name, {1})
    asking = [asyncio.create_task(crowd.ask(seed)) for seed in range(connections)]
    started, away = time.monotonic(), []
    for version in range(2, versions + 1):
        crowd.allowed.add(version)
        await asyncio.to_thread(write_version, base, version)
        swapped = await asyncio.to_thread(
            wait_until, lambda version=version: _available(server, base.name) == [version]
        )
        report.require(swapped, f"version {version} took the place of the one before it")
        crowd.allowed.discard(version - 1)
        shutil.rmtree(base / str(version - 1))
        await asyncio.sleep(0.5)
        readers = readers_of(server)
        away.append(sum(len(each.net_connections("tcp")) for each in readers))
    code, seconds = await asyncio.to_thread(server.terminate, _MOST_SECONDS)
    await asyncio.wait(asking, timeout=60)
    crowd.stop()
    taken = time.monotonic() - started
    report.tell(
        f"{crowd.answered} requests by {connections} connections in {taken:.0f} s, then SIGTERM;"
        f" ended after {seconds:.1f} s"
    )
    report.require(not crowd.wrong, f"none was lost or answered wrong: {len(crowd.wrong)} were")
    for text in crowd.wrong[:5]:
        report.tell(f"       {text}")
    report.require(
        crowd.versions == set(range(1, versions + 1)), f"each of {versions} versions answered"
    )
    report.tell("connections with another process after each swap: " + " ".join(map(str, away)))
    report.require(code == 0, f"exit code 0: {code}")
    report.require(not any(map(psutil.Process.is_running, readers)), "none of them is left")
    return max(away)


def _available(server: Server, model: str) -> list[int]:
    return [v for v, state in server.states(model).items() if state == "AVAILABLE"]


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, connections=32, versions=10).parse_args()
    report = Report()
    with folder() as made:
        base = made / "crowded"
        base.mkdir()
        write_version(base, 1)
        words = ("--model_name=crowded", f"--model_base_path={base}", *arguments.flag)
        with Server(made, words) as server:
            connections = arguments.connections
            away = asyncio.run(
                swap_under_crowd(server, base, arguments.versions, connections, report)
            )
            report.require(away > connections / 2, "further processes read most of the requests")
            report.require("Traceback" not in server.log(), "no traceback in the log")
            report.require("[error]" not in server.log().lower(), "no error in the log")
    report.end()


if __name__ == "__main__":
    main()
