"""A first signal is noted, a second ends the process, and whoever reads stderr may be gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from tfapp.cli.signals import stop_on_signals
from tfapp.errors import ExitCode

# Waits inside the block, or after it for a thread that does not end.
_PROGRAM = """
    import os, sys, threading
    from tfapp.cli.signals import stop_on_signals

    at_once = (lambda code: os._exit(code)) if "at once" in sys.argv else None
    with stop_on_signals(b"said\\n", at_once) as stop:
        print("ready", flush=True)
        while stop() is None:
            threading.Event().wait(0.01)
        print(int(stop()), flush=True)
        if "after" not in sys.argv:
            threading.Event().wait()
    threading.Thread(target=threading.Event().wait).start()
    print("out", flush=True)
"""


def start(*words, stderr=subprocess.PIPE):
    command = [sys.executable, "-c", textwrap.dedent(_PROGRAM), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("words", [("at once",), ("at once", "after")], ids=" ".join)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM),
    ],
)
def test_a_second_signal_of_either_kind_does_not_wait_for_threads(first, second, words):
    with start(*words) as process:
        try:
            process.send_signal(first)
            assert process.stdout.readline() == f"{128 + first}\n"
            if "after" in words:
                assert process.stdout.readline() == "out\n"
            process.send_signal(second)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (128 + second, "said\n")


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_without_more_the_handlers_that_were_there_come_back_for_both(second):
    with start() as process:
        try:
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "143\n"
            process.send_signal(second)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    # Python's own: KeyboardInterrupt, which ends by the signal once it is told, and none at all.
    assert process.returncode == -second
    assert err.count("said") == 1
    assert ("KeyboardInterrupt" in err) == (second == signal.SIGINT)


def test_nobody_needs_to_read_what_is_said():
    read, write = os.pipe()
    with start("at once", stderr=write) as process:
        os.close(write)
        os.close(read)
        try:
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "143\n"
        finally:
            process.kill()


def test_a_pipe_that_is_full_is_not_waited_for():
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x")
    except BlockingIOError:
        os.set_blocking(write, True)
    with start("at once", stderr=write) as process:
        give_up = threading.Timer(60, process.kill)
        give_up.start()
        try:
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "143\n", "the handler has returned"
        finally:
            give_up.cancel()
            process.kill()
    for end in (read, write):
        os.close(end)


def test_handlers_return_at_the_end():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signals(b"") as stop:
        assert stop() is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() is ExitCode.TERMINATED
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
