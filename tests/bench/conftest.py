from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

# Contenders for the parabola that need no framework, so that a process is there in no time.
CONTENDERS = """
    import os
    import time

    from tfapp.bench.contenders.base import Contender, one_by_one


    class Right(Contender):
        rate = 0.01

        def __init__(self, task):
            self.w = 0.0
            self.file = task.folder / "mine"
            self.file.touch()

        def first_losses(self, steps):
            return one_by_one(self.step() for _ in range(steps))

        def run(self, steps):
            for _ in range(steps):
                self.last = self.step()
            time.sleep(20e-6 * steps)

        def loss(self):
            return self.last

        def remarks(self):
            return "by hand"

        def step(self):
            loss = (self.w - 5) ** 2
            self.w -= self.rate * (2 * self.w - 10)
            return loss


    class Slow(Right):
        def run(self, steps):
            super().run(steps)
            time.sleep(200e-6 * steps)


    class WrongRate(Right):
        rate = 0.011


    class Silent(Right):
        def first_losses(self, steps):
            return ()


    class NotOne:
        pass


    class Raises(Right):
        def first_losses(self, steps):
            raise ValueError("no such luck. Call again")


    class DiesAtOnce(Right):
        def __init__(self, task):
            print("out of luck", flush=True)
            os.kill(os.getpid(), 9)


    class DiesLater(Right):
        asked = 0

        def time(self, steps):
            self.asked += 1
            if self.asked > 5:
                os._exit(7)
            time.sleep(0.2)
            return super().time(steps)


    class Busy(Right):
        def __init__(self, task):
            import threading

            super().__init__(task)
            threading.Thread(target=self.spin, daemon=True).start()

        def spin(self):
            while True:
                pass
"""


@pytest.fixture
def own_contenders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Writes `own.py` into the working folder; its contenders are asked for as `own:Right`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(textwrap.dedent(CONTENDERS))
    return "own"
