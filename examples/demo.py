"""The whole journey on real images, as `make demo` runs it: search, train, export, report, predict.

Every step is a command that can be typed; this script types them and shows what it types.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from tfapp.cli import main

CONFIG = Path(__file__).with_name("digits_tune.toml")


def run(*words: str) -> None:
    """Shows and runs one command; ends the demo with its exit code if it fails."""
    click.secho(f"\n$ tfapp {' '.join(words)}", bold=True)
    sys.stdout.flush()
    code = main(words)
    if code:
        sys.exit(code)


def demo() -> None:
    """Runs the commands."""
    run("train", "--tune", os.path.relpath(CONFIG), "--export")
    run("report", "runs/latest")
    run(
        "predict",
        "saved_models/digits-tuned",
        "runs/latest/samples.npz",
        *("--limit", "12", "--plot", "runs/latest/plots/predictions.svg"),
    )
    click.secho("\nWhat there is now", bold=True)
    print(f"  run         {Path('runs/latest').resolve().relative_to(Path.cwd())}/")
    print("  report      runs/latest/report.html")
    print("  figures     runs/latest/plots/")
    print("  SavedModel  saved_models/digits-tuned/")
    print("\nnext: tfapp train --data wine --model mlp")


if __name__ == "__main__":
    demo()
