"""A page of a real server in a real browser, driven over the pipe of the DevTools protocol.

    with browser(tmp_path) as page:
        page.open("http://localhost:8501/docs", width=PHONE)
        page.run("document.querySelector('button').click()")

The page is as it was sent, with its headers: what they forbid is forbidden here.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
DESKTOP, PHONE = 1200, 390
needs_browser = pytest.mark.skipif(
    BROWSER is None,
    reason=f"no browser: install one of {', '.join(NAMES)}, e.g. apt-get install chromium",
)
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)


class LivePage:
    """A window of the browser; `events` are those of the page since it was opened."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number = 0
        self._left = b""
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for part in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{part}.enable")

    def open(self, url: str, width: int, height: int = 900) -> None:
        """Loads a page in a window of some width in pixels."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        self.events.clear()
        self._ask("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read()

    def run(self, script: str) -> Any:
        """Runs a script in the page and returns its value; a promise is waited for."""
        options = {"awaitPromise": True, "returnByValue": True}
        told = self._ask("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def asked(self) -> list[str]:
        """Returns the addresses that the page asked for."""
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[str]:
        """Returns what the browser wrote to its console: refusals, errors."""
        logged = [e for e in self.events if e["method"] == "Log.entryAdded"]
        raised = [e for e in self.events if e["method"] == "Runtime.exceptionThrown"]
        return [e["params"]["entry"]["text"] for e in logged] + [str(e["params"]) for e in raised]

    def picture(self, file: Path) -> None:
        """Writes the whole page as a PNG."""
        told = self._ask("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(told["data"]))

    def _ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._commands, json.dumps(asked).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            piece = os.read(self._answers, 2**16)
            assert piece, "the browser has ended"
            self._left += piece
        message, _, self._left = self._left.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        if "method" in told:
            self.events.append(told)
        return told


@contextmanager
def browser(folder: Path) -> Iterator[LivePage]:
    """Gives a window of a browser that keeps its files in a folder, and ends it."""
    assert BROWSER is not None
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()
    # The browser reads 3 and writes 4.
    shell = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'
    command = ["bash", "-c", shell, "bash", BROWSER, *_OPTIONS, f"--user-data-dir={folder}/browser"]
    with subprocess.Popen(
        command, pass_fds=(read_commands, write_answers), stderr=subprocess.DEVNULL
    ) as process:
        os.close(read_commands)
        os.close(write_answers)
        try:
            yield LivePage(write_commands, read_answers)
        finally:
            process.kill()
            os.close(write_commands)
            os.close(read_answers)
