"""Kills a training with SIGKILL at random moments and compares what it ends with.

    python benchmarks/resume_kills.py --kills 100 --loop resident

Trains once undisturbed. Then trains the same again, killing `tfapp train` and resuming it for as
many times as asked, lets it end, and compares every variable of the two last checkpoints bit for
bit. One kill in five falls anywhere into the time before the first new checkpoint, the others into
the second and a half after it. Exit code 0: all equal.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.progress import track

from tfapp.runs import Run
from tfapp.training.checkpoints import Checkpoints

_HERE = Path(__file__).parent
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


def main() -> None:
    """Runs the comparison that the command line asks for."""
    arguments = _parse()
    folder = Path(tempfile.mkdtemp(prefix="resume-kills-"))
    # About so much is trained between two kills, and something must be left to the end.
    epochs = max(5, arguments.kills * arguments.steps_per_kill // _STEPS_PER_EPOCH)
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(epochs=epochs, loop=arguments.loop))
    words = ["--runs", str(folder / "runs"), "--quiet"]
    started = time.monotonic()
    _tfapp(str(config), "--run", "whole", *words).wait()
    print(f"undisturbed: {epochs} epochs in {time.monotonic() - started:.0f} s", flush=True)
    cut = Run(folder / "runs" / "cut")
    tally = _kill(cut, str(config), words, arguments.kills, random.Random(arguments.seed))
    _tfapp(*_command(cut, str(config)), *words).wait()
    equal, different = _compare(Run(folder / "runs" / "whole"), cut)
    print(
        f"{sum(tally.moments.values())} kills ({tally.moments['start']} at the start,"
        f" {tally.moments['training']} in training) in {time.monotonic() - started:.0f} s;"
        f" {tally.checkpoints} left a newer checkpoint, {tally.lost} an older one"
    )
    print(f"{equal} variables equal bit for bit, {len(different)} not")
    for name in different:
        print(f"  {name}")
    shutil.rmtree(folder)
    sys.exit(1 if different or tally.lost else 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--loop", default="streaming", help="streaming, streaming_xla or resident")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--steps-per-kill", type=int, default=900, help="length of the run")
    return parser.parse_args()


def _tfapp(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tfapp", "train", *words],
        cwd=_HERE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _command(run: Run, config: str) -> list[str]:
    return ["--resume", run.name] if run.path.exists() else [config, "--run", run.name]


def _kill(run: Run, config: str, words: list[str], kills: int, rng: random.Random) -> Tally:
    tally, newest, start_seconds = Tally(Counter()), -1, 5.0
    for _ in track(range(kills), description=f"{kills} kills"):
        process = _tfapp(*_command(run, config), *words)
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
        if process.poll() is not None:
            print(f"the run ended by itself with code {process.returncode}: more --steps-per-kill")
            break
        process.kill()
        process.wait()
        tally.moments[moment] += 1
        step = _newest(run)
        tally.checkpoints += step > newest
        tally.lost += step < newest
        newest = step
    return tally


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
