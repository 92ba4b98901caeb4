"""A leader and its workers in other processes: four calls over gRPC, each JSON in and out.

KerasTuner's own messages are not used: they leave out why a trial failed, shorten floats to 32
bits, and know no sign of life, so that a worker that dies is waited for without end (keras-tuner
issues 254 and 344 tell of chiefs that do not end, 915 of trials that are lost).

Nothing is encrypted and nobody is asked who they are: the port is for a network that is trusted.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import grpc

from tfapp.errors import Interrupted, MissingError, TfappError, UsageError
from tfapp.runs import Run
from tfapp.settings import wait_seconds
from tfapp.trials import journal_of
from tfapp.tuning.execution import Stop
from tfapp.tuning.leader import Assignment, Leader, Outcome
from tfapp.tuning.roles import cannot_listen

_SERVICE = "tfapp.Search"
# A sign of life comes every so many seconds; who gives none for so long is lost, or for
# TFAPP_WAIT_SECONDS if that is less.
BEAT_SECONDS = 2.0
LOST_SECONDS = 60.0
# A worker asks again so soon when all trials are being run.
_WAIT_SECONDS = 0.5
_RETRY_SECONDS = 1.0
_CALL_SECONDS = 20.0
_JSON = {
    "request_serializer": lambda value: json.dumps(value).encode(),
    "response_deserializer": json.loads,
}


@dataclass
class _Seen:
    """A worker that has called: which process it was, and when."""

    instance: str
    at: float
    told: bool = False


class Office:
    """Answers the workers of a leader.

    Args:
        leader: Decides.
        run: The run that the search belongs to.
    """

    def __init__(self, leader: Leader, run: Run) -> None:
        self._leader = leader
        self._run = run
        self._search = _identity(run)
        self._lost_after = min(LOST_SECONDS, wait_seconds())
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    @property
    def workers(self) -> list[str]:
        """Those that are known and have not been told yet that the search is over."""
        with self._lock:
            return [name for name, seen in self._seen.items() if not seen.told]

    def drop_lost(self) -> None:
        """Gives up the workers that have not been heard of for long."""
        after = self._lost_after
        with self._lock:
            now = time.monotonic()
            lost = [name for name, seen in self._seen.items() if now - seen.at > after]
            for name in lost:
                del self._seen[name]
        for name in lost:
            self._leader.release(name, f"nothing was heard of {name} for {after:.0f} s")

    def forget(self, worker: str, reason: str) -> None:
        """Gives up a worker whose process is known to be gone."""
        with self._lock:
            self._seen.pop(worker, None)
        self._leader.release(worker, reason)

    def join(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Lets a process be a worker; it takes the place of one of the same name."""
        worker = request["worker"]
        with self._lock:
            self._seen[worker] = _Seen(request["instance"], time.monotonic())
        return {"run": self._run.name, "search": self._search}

    def next(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answers with a trial, or with `wait` or `stop`."""
        if refusal := self._refusal(request):
            return {"refused": refusal}
        answer = self._leader.next(request["worker"])
        if isinstance(answer, Assignment):
            return {"assignment": asdict(answer)}
        if answer == "stop":
            with self._lock:
                self._seen[request["worker"]].told = True
        return {"do": answer}

    def beat(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Takes a sign of life; answers whether the trial goes on."""
        return {"goes_on": self._has_trial(request) and not self._leader.is_over()}

    def finish(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Takes what a trial came to."""
        if not self._has_trial(request):
            return {"taken": False}
        outcome = request["outcome"]
        made = Outcome(**{**outcome, "scores": tuple(outcome["scores"])})
        return {"taken": self._leader.finish(request["number"], request["attempt"], made)}

    def _has_trial(self, request: Mapping[str, Any]) -> bool:
        """Tells whether a worker still has its trial; one that an earlier leader knew joins so."""
        refusal = self._refusal(request)
        if refusal not in ("", "unknown"):
            return False
        if not self._leader.claim(request["worker"], request["number"], request["attempt"]):
            return False
        if refusal:
            self.join(request)
        return True

    def _refusal(self, request: Mapping[str, Any]) -> str:
        """Notes that a worker lives; returns why it is none, or nothing."""
        if request["search"] != self._search:
            return "other"
        with self._lock:
            seen = self._seen.get(request["worker"])
            if seen is None:
                return "unknown"
            if seen.instance != request["instance"]:
                return "replaced"
            seen.at = time.monotonic()
            return ""


@contextmanager
def serve(office: Office, address: str, port: int) -> Iterator[int]:
    """Answers workers for the time of the block; gives the port.

    Args:
        office: Who answers.
        address: Of this machine, as workers know it.
        port: Where to listen; 0 for any that is free.

    Raises:
        UsageError: The port is in use, or the address is not this machine's.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8, thread_name_prefix="office"),
        options=(("grpc.so_reuseport", 0),),  # else two chiefs would share a port unawares
    )
    calls = {"Join": office.join, "Next": office.next, "Beat": office.beat, "Finish": office.finish}
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _answer(call),
            request_deserializer=json.loads,
            response_serializer=lambda value: json.dumps(value).encode(),
        )
        for name, call in calls.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    try:
        bound = server.add_insecure_port(f"{address}:{port}")
    except RuntimeError as error:
        raise cannot_listen(address, port) from error
    server.start()
    try:
        yield bound
    finally:
        server.stop(grace=1.0).wait()


class Line:
    """A worker's line to its leader.

    Args:
        worker: Who calls.
        address: Where the leader is.
        port: At which port.
        patience: Seconds that it tries to reach a leader that does not answer.
        stop: A code ends all waiting.
    """

    def __init__(
        self, worker: str, address: str, port: int, *, patience: float, stop: Stop = lambda: None
    ) -> None:
        self._worker = worker
        self._where = f"{address}:{port}"
        self._patience = patience
        self._stop = stop
        self._instance = uuid.uuid4().hex
        self._search = ""
        self._channel = grpc.insecure_channel(
            self._where,
            options=(
                # A leader that comes back is to be found at once.
                ("grpc.max_reconnect_backoff_ms", 1000),
                # No proxy of the web leads to it.
                ("grpc.enable_http_proxy", 0),
            ),
        )

    def join(self) -> dict[str, Any]:
        """Asks to be a worker; returns which run it is for, and what tells its search from others.

        Raises:
            MissingError: No leader answers, or, the second time, one of another search.
            Interrupted: `stop` gave a code meanwhile.
        """
        answer = self._call("Join", {})
        if self._search not in ("", answer["search"]):
            raise self._led_no_more()
        self._search = answer["search"]
        return answer

    def next(self) -> Assignment | None:
        """Returns the next trial, as soon as there is one; `None` at the end.

        Raises:
            MissingError: No leader answers, or one of another search.
            UsageError: Another process goes by the name of this worker.
            Interrupted: `stop` gave a code meanwhile.
        """
        while True:
            self._check_stop()
            answer = self._call("Next", {})
            if "assignment" in answer:
                return Assignment(**answer["assignment"])
            if answer.get("refused") == "replaced":
                raise UsageError(
                    f"another process has joined the search as {self._worker}. Give each a"
                    " KERASTUNER_TUNER_ID of its own."
                )
            if answer.get("refused") == "other":
                raise self._led_no_more()
            if answer.get("refused"):
                self.join()  # the leader is another one, or had given up this worker
            elif answer["do"] == "stop":
                return None
            time.sleep(_WAIT_SECONDS)

    def finish(self, assignment: Assignment, outcome: Outcome) -> None:
        """Hands in what a trial came to.

        Raises:
            MissingError: No leader answers.
            Interrupted: None answers, and `stop` gave a code.
        """
        trial = {"number": assignment.number, "attempt": assignment.attempt}
        self._call("Finish", {**trial, "outcome": asdict(outcome)})

    @contextmanager
    def alive(self, assignment: Assignment) -> Iterator[Callable[[], bool]]:
        """Gives signs of life for the time of the block; gives whether the trial goes on."""
        ended, goes_on = threading.Event(), threading.Event()
        goes_on.set()
        trial = {"number": assignment.number, "attempt": assignment.attempt}

        def beat() -> None:
            while not ended.wait(BEAT_SECONDS):
                try:
                    answer = self._once("Beat", trial)
                except grpc.RpcError:
                    continue  # a leader that is gone may come back before the trial ends
                if not answer["goes_on"]:
                    goes_on.clear()

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield goes_on.is_set
        finally:
            ended.set()
            thread.join()

    def close(self) -> None:
        """Ends the line."""
        self._channel.close()

    def _call(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._once(name, request)
            except grpc.RpcError as error:
                if error.code() not in (
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.CANCELLED,
                ):
                    raise TfappError(
                        f"the chief at {self._where} failed: {error.details()}"
                    ) from error
                if time.monotonic() > deadline:
                    raise MissingError(
                        f"no chief has answered at {self._where} for {self._patience:.0f} s. Start"
                        " it there with tfapp tune --role chief, or mend KERASTUNER_ORACLE_IP and"
                        " KERASTUNER_ORACLE_PORT; TFAPP_WAIT_SECONDS says how long to wait."
                    ) from error
                self._check_stop()
                time.sleep(_RETRY_SECONDS)

    def _led_no_more(self) -> MissingError:
        return MissingError(
            f"the chief at {self._where} leads another search now. To work for that, start this"
            " worker again."
        )

    def _check_stop(self) -> None:
        if code := self._stop():
            raise Interrupted(f"{self._worker} was stopped; the others go on.", code)

    def _once(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        call = self._channel.unary_unary(f"/{_SERVICE}/{name}", **_JSON)
        identity = {
            "worker": self._worker,
            "instance": self._instance,
            "search": self._search,
        }
        return call({**identity, **request}, timeout=_CALL_SECONDS)


def check_same_search(run: Run, identity: str) -> None:
    """Refuses a run directory that is not the one that the leader writes.

    Raises:
        MissingError: It is another one, or there is none.
    """
    if not run.path.exists() or _identity(run) != identity:
        raise MissingError(
            f"the chief's search is not in {run.path}. Put the runs where all machines see them,"
            " and name that folder with --runs."
        )


def _identity(run: Run) -> str:
    """Returns what no other search begins with."""
    try:
        with journal_of(run).open(encoding="utf-8") as file:
            return file.readline()
    except OSError:
        return ""


def _answer(call: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def answer(request: Mapping[str, Any], context: grpc.ServicerContext) -> dict[str, Any]:
        try:
            return call(request)
        except TfappError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise

    return answer
