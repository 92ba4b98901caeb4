"""Kills a training with SIGKILL at random moments and compares what it ends with.

    python benchmarks/resume_kills.py --kills 100 --loop resident

Trains once undisturbed. Then trains the same again, killing `tfapp train` and resuming it for as
many times as asked, lets it end, and compares every variable of the two last checkpoints bit for
bit. One kill in five falls anywhere into the time before the first new checkpoint, the others into
the second and a half after it. Exit code 0: all equal. A training that fails ends it at once, with
what that wrote to stderr.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.progress import track

from tfapp.names import LOOPS
from tfapp.runs import Run
from tfapp.training.checkpoints import Checkpoints

_HERE = Path(__file__).parent
_TRAIN = (sys.executable, "-m", "tfapp", "train")
_TRAINING_SECONDS = 1.5
_STEPS_PER_EPOCH = 100
_CONFIG = """
[data]
source = "synthetic/blobs"
batch_size = 60
options = {{ examples = 7840, features = 20, classes = 5, noise = 6.0 }}
[model]
name = "every_state:EveryState"
[train]
epochs = {epochs}
loop = "{loop}"
optimizer = {{ name = "adamw", learning_rate = 0.003, weight_decay = 0.01, global_clipnorm = 0.5, use_ema = true }}
schedule = {{ name = "cosine", warmup_steps = 500 }}
checkpoint = {{ every_steps = 30 }}
"""  # noqa: E501


@dataclass
class Tally:
    """What the kills met.

    Attributes:
        moments: How many fell into the start and how many into training.
        checkpoints: How many found another newest checkpoint than the kill before.
        lost: How often the newest checkpoint was older than before: never, it is hoped.
    """

    moments: Counter[str]
    checkpoints: int = 0
    lost: int = 0


@dataclass
class Trainings:
    """The same training, as often as it is started.

    Attributes:
        folder: Where config, runs and what they say are kept.
        loop: Who calls its step.
        epochs: Its length.
    """

    folder: Path
    loop: str
    epochs: int

    def __post_init__(self) -> None:
        self._stderr = self.folder / "stderr.txt"
        self._config = self.folder / "config.toml"
        self._config.write_text(_CONFIG.format(epochs=self.epochs, loop=self.loop))

    def run(self, name: str) -> Run:
        """Returns the run of that name."""
        return Run(self.folder / "runs" / name)

    def is_complete(self, run: Run) -> bool:
        """Whether its last checkpoint is that of the end."""
        return _newest(run) >= self.epochs * _STEPS_PER_EPOCH

    @contextmanager
    def going_on(self, run: Run) -> Iterator[subprocess.Popen[bytes]]:
        """Starts or resumes a run; when the block ends, it is killed."""
        words = [str(self._config), "--run", run.name]
        if run.path.exists():
            words = ["--resume", run.name]
        with self._stderr.open("wb") as stderr:
            process = subprocess.Popen(
                [*_TRAIN, *words, "--runs", str(run.path.parent), "--quiet"],
                cwd=_HERE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def finish(self, run: Run) -> None:
        """Starts or resumes a run and waits for its end."""
        with self.going_on(run) as process:
            process.wait()
        if process.returncode:
            raise self.failure(run, process.returncode)

    def failure(self, run: Run, code: int) -> SystemExit:
        """Returns what ends this program when a training ended with `code`."""
        told = self._stderr.read_text(errors="replace").strip()
        return SystemExit(f"the training {run.name!r} ended with exit code {code}:\n{told}")


def main() -> None:
    """Runs the comparison that the command line asks for."""
    arguments = _parse()
    # About so much is trained between two kills, and something must be left to the end.
    epochs = max(5, arguments.kills * arguments.steps_per_kill // _STEPS_PER_EPOCH)
    with tempfile.TemporaryDirectory(prefix="resume-kills-") as folder:
        trainings = Trainings(Path(folder), arguments.loop, epochs)
        all_equal = _compare_with_killed(trainings, arguments.kills, random.Random(arguments.seed))
    sys.exit(0 if all_equal else 1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--loop", default="streaming", choices=LOOPS)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--steps-per-kill", type=int, default=900, help="length of the run")
    return parser.parse_args()


def _compare_with_killed(trainings: Trainings, kills: int, rng: random.Random) -> bool:
    """Returns whether a run that is killed ends as one that is not; prints what was seen."""
    whole, cut = trainings.run("whole"), trainings.run("cut")
    started = time.monotonic()
    trainings.finish(whole)
    seconds = time.monotonic() - started
    print(f"undisturbed: {trainings.epochs} epochs in {seconds:.0f} s", flush=True)
    tally = _kill(trainings, cut, kills, rng)
    if not trainings.is_complete(cut):
        trainings.finish(cut)
    equal, different = _compare(whole, cut)
    print(
        f"{sum(tally.moments.values())} kills ({tally.moments['start']} at the start,"
        f" {tally.moments['training']} in training) in {time.monotonic() - started:.0f} s;"
        f" {tally.checkpoints} left a newer checkpoint, {tally.lost} an older one"
    )
    print(f"{equal} variables equal bit for bit, {len(different)} not")
    for name in different:
        print(f"  {name}")
    return not different and not tally.lost


def _kill(trainings: Trainings, run: Run, kills: int, rng: random.Random) -> Tally:
    tally, newest, start_seconds = Tally(Counter()), -1, 5.0
    for _ in _shown(kills):
        with trainings.going_on(run) as process:
            began = time.monotonic()
            if rng.random() < 0.2:
                time.sleep(rng.uniform(0, start_seconds))
                moment = "start"
            else:
                while process.poll() is None and _newest(run) == newest:
                    time.sleep(0.01)
                start_seconds = time.monotonic() - began
                time.sleep(rng.uniform(0, _TRAINING_SECONDS))
                moment = "training"
        if trainings.is_complete(run):
            print("the run came to its end before the last kill: more --steps-per-kill")
            break
        if process.returncode != -signal.SIGKILL:
            raise trainings.failure(run, process.returncode)
        tally.moments[moment] += 1
        step = _newest(run)
        tally.checkpoints += step > newest
        tally.lost += step < newest
        newest = step
    return tally


def _shown(kills: int) -> Iterator[int]:
    """Counts kills: by a bar on a terminal, else by a line at every tenth."""
    if sys.stdout.isatty():
        yield from track(range(kills), description=f"{kills} kills")
        return
    for number in range(1, kills + 1):
        yield number
        if number % 10 == 0:
            print(f"{number} of {kills} kills", flush=True)


def _newest(run: Run) -> int:
    return max(Checkpoints(run.checkpoints).steps(), default=-1)


def _compare(one: Run, other: Run) -> tuple[int, list[str]]:
    """Returns how many variables of the last checkpoints are equal, and which are not."""
    readers = [
        tf.train.load_checkpoint(str(Checkpoints(run.checkpoints).path(newest) / "variables"))
        for run in (one, other)
        for newest in Checkpoints(run.checkpoints).steps()[-1:]
    ]
    keys = [key for key in readers[0].get_variable_to_shape_map() if "VARIABLE_VALUE" in key]
    different = [
        key
        for key in keys
        if not np.array_equal(readers[0].get_tensor(key), readers[1].get_tensor(key))
    ]
    return len(keys) - len(different), different


if __name__ == "__main__":
    main()
