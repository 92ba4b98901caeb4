"""What a contender's process has started ends with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKER = """
import subprocess, sys
from tfapp.timing.worker import serve

def start():
    return {"pid": subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]).pid}

serve(lambda: {"start": start})
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no groups of processes")
def test_helpers_end_when_nobody_asks_any_more():
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with worker:
        worker.stdout.readline()
        worker.stdin.write('{"do": "start"}\n')
        worker.stdin.flush()
        helper = json.loads(worker.stdout.readline())["pid"]
        assert is_running(helper)
        worker.stdin.close()
        worker.wait(30)
    end = time.monotonic() + 30
    while is_running(helper) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_running(helper)
