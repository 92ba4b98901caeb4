"""`tfapp train --workers`: this process starts the ones that train, and watches over them."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tfapp.cli.console import say
from tfapp.cores import usable_cores
from tfapp.errors import UsageError

if TYPE_CHECKING:
    from tfapp.config import Config
    from tfapp.runs import Run


def train_with_workers(
    count: int, config: Config, runs: Path | None, name: str | None, flags: Sequence[str]
) -> int:
    """Trains a new run with several processes; returns the exit code.

    Args:
        count: How many.
        config: What to train.
        runs: Folder of runs.
        name: Name of the new run.
        flags: Words for the workers, e.g. `--quiet`.
    """
    from tfapp.config import to_toml
    from tfapp.data.sources import find_source
    from tfapp.runs import Run, check_free
    from tfapp.settings import data_folder, runs_folder

    check_workers(count, config)
    find_source(config.data.source, data_folder())
    folder = runs_folder(runs)
    check_free(folder, name)
    run = Run(folder / (name or _new_name(folder, config)))
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "config.toml"
        file.write_text(to_toml(config), encoding="utf-8")
        begin = ["train", str(file), "--run", run.path.name, "--runs", str(folder), *flags]
        return _supervise(count, run, [*begin, "--strategy", "multiworker"], _going_on(run, flags))


def resume_with_workers(
    count: int, run: Run, config: Config, words: Sequence[str], flags: Sequence[str]
) -> int:
    """Goes on with a run with several processes; returns the exit code.

    Args:
        count: How many.
        run: The run.
        config: Its config, changes included.
        words: The changes as they were typed.
        flags: Words for the workers, e.g. `--quiet`.
    """
    check_workers(count, config, "--strategy multiworker --force")
    again = [*_going_on(run, flags), *words]
    return _supervise(count, run, again, again)


def check_workers(count: int, config: Config, instead: str = "--strategy multiworker") -> None:
    """Refuses a config that several processes cannot train.

    Args:
        count: How many processes.
        config: What they are to train.
        instead: What to type where another strategy is configured.

    Raises:
        UsageError: Strategy, batch size or environment do not go with them.
    """
    from tfapp.settings import cluster_description
    from tfapp.training.cluster import check_batch

    if config.train.strategy not in ("auto", "multiworker"):
        raise UsageError(
            f"--workers {count} trains with several processes, but train.strategy is"
            f" {config.train.strategy!r}. Leave --workers out, or add {instead}."
        )
    if cluster_description():
        raise UsageError(
            "TF_CONFIG is set, so this process is one of a cluster and starts no workers itself."
            " Leave --workers out, or type: unset TF_CONFIG"
        )
    check_batch(config.data.batch_size, count)


def end_with_supervisor() -> None:
    """Has this worker save and end when its supervisor is gone, however that ended."""

    def watch() -> None:
        # Not through sys.stdin, whose lock Python wants for itself when it ends.
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()


def words_of(changes: Mapping[str, object], assignments: Sequence[str], force: bool) -> list[str]:
    """Returns changes of a config as they can be typed again.

    Args:
        changes: Values by dotted key.
        assignments: `key=value` texts.
        force: Whether `--force` was among them.
    """
    # As TOML, so that a name like `1` stays text.
    texts = [*assignments, *(f"{key}={_as_toml(value)}" for key, value in changes.items())]
    return [word for text in texts for word in ("--set", text)] + ["--force"] * force


def _supervise(count: int, run: Run, begin: Sequence[str], again: Sequence[str]) -> int:
    from tfapp.cli.signals import stop_on_signals
    from tfapp.training.workers import supervise

    quiet = "--quiet" in begin
    if (cores := usable_cores()) < count:
        say(
            f"note: {count} workers share {cores} cores, so they are no faster than {cores}",
            quiet=quiet,
        )
    with stop_on_signals() as stop:
        return supervise(
            count,
            lambda resume: again if resume else begin,
            run,
            stop=stop,
            tell=lambda text: say(text, quiet=quiet),
        )


def _going_on(run: Run, flags: Sequence[str]) -> list[str]:
    return ["train", "--resume", str(run.path), *flags]


def _new_name(folder: Path, config: Config) -> str:
    name = f"{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}-{config.label}"
    numbered = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    return next(candidate for candidate in numbered if not (folder / candidate).exists())


def _as_toml(value: object) -> str:
    import tomli_w

    return tomli_w.dumps({"value": value}).partition("=")[2].strip()
