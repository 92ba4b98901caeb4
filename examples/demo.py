"""The whole journey on real images, as `make demo` runs it: train, evaluate, export, predict.

Every step is a command that can be typed; this script types them and shows what it types.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tfapp.cli import main

CONFIG = Path(__file__).with_name("digits_cnn.toml")


def run(*words: str) -> None:
    """Shows and runs one command; ends the demo with its exit code if it fails."""
    click.secho(f"\n$ tfapp {' '.join(words)}", bold=True)
    sys.stdout.flush()
    code = main(words)
    if code:
        sys.exit(code)


def demo() -> None:
    """Runs the commands."""
    run("train", os.path.relpath(CONFIG))
    run("evaluate", "runs/latest")
    run("export", "runs/latest")
    run(
        "predict",
        "saved_models/digits-cnn",
        "runs/latest/samples.npz",
        *("--limit", "12", "--plot", "runs/latest/plots/predictions.svg"),
    )
    click.secho("\nWhat there is now", bold=True)
    print(f"  run         {Path('runs/latest').resolve().relative_to(Path.cwd())}/")
    print("  curves      runs/latest/plots/curves.svg")
    print("  confusion   runs/latest/plots/confusion-test.svg")
    print("  pictures    runs/latest/plots/predictions.svg")
    print("  SavedModel  saved_models/digits-cnn/")
    print("\nnext: tfapp train --data wine --model mlp")


if __name__ == "__main__":
    demo()
