"""What `tfapp tune` and `tfapp train --tune` do: a search, in this process or in several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfapp.cli.console import say
from tfapp.errors import UsageError

if TYPE_CHECKING:
    from tfapp.config import Config
    from tfapp.runs import Run
    from tfapp.trials import Search
    from tfapp.tuning.roles import Chief


def find_role(role: str | None, workers: int | None) -> tuple[Chief | None, str]:
    """Returns where the chief is, if there are several machines, and this process's part.

    Args:
        role: What was asked for.
        workers: Processes of this machine that were asked for.

    Raises:
        UsageError: KerasTuner's variables say something else, or too little.
    """
    from tfapp.settings import TUNER_VARIABLES, tuner_variables

    if role is None and not any(tuner_variables()):
        return None, "alone"
    from tfapp.tuning.roles import find_chief

    chief = find_chief()
    if chief is None:
        raise UsageError(
            f"--role {role} is for a search on several machines, which {', '.join(TUNER_VARIABLES)}"
            " describe. Export them, the first as 'chief' there and as 'tuner0', 'tuner1', ..."
            " elsewhere; or leave --role out."
        )
    found = "chief" if chief.is_here else "worker"
    if role not in (None, found):
        raise UsageError(
            f"--role {role}, but KERASTUNER_TUNER_ID is {chief.worker!r}, which names a {found}:"
            " the chief's holds the word 'chief', and no other's does."
        )
    if workers:
        raise UsageError(
            "--workers starts processes for a search on this machine alone, but KerasTuner's"
            f" variables make this one the {found} of several. Leave --workers out, or type:"
            f" unset {' '.join(TUNER_VARIABLES)}"
        )
    return chief, found


def check_space(config: Config) -> None:
    """Refuses a config with nothing to search, before TensorFlow is loaded.

    Raises:
        UsageError: Its space is empty, and its model is none that could bring one along.
    """
    from tfapp.names import is_import_path
    from tfapp.space import empty_space

    if not (config.tune and config.tune.space) and not is_import_path(config.model.name):
        raise UsageError(empty_space())


def lead_search(
    config: Config,
    *,
    run: Path | None = None,
    name: str | None = None,
    runs: Path | None,
    chief: Chief | None = None,
    workers: int | None = None,
    quiet: bool,
) -> Search:
    """Begins a search or goes on with one, and shows how it comes along.

    Args:
        config: What is searched.
        run: The run whose search goes on; `None` to begin one.
        name: Name of the new run directory.
        runs: Folder of run directories.
        chief: Where to listen for workers on other machines.
        workers: Processes to start on this machine.
        quiet: Show nothing.
    """
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.signals import stop_on_signals
    from tfapp.cli.tune_display import search_watcher
    from tfapp.data.sources import find_source
    from tfapp.environment import read_environment
    from tfapp.runs import Run, check_free
    from tfapp.settings import data_folder, runs_folder

    check_space(config)
    find_source(config.data.source, data_folder())
    folder = runs_folder(runs)
    check_free(folder, name)
    cores = read_environment().cpus
    if workers and workers > cores:
        say(f"note: {workers} workers share {cores} cores", quiet=quiet)
    if chief is not None:
        from tfapp.tuning.roles import check_address

        check_address(chief)
    load_tensorflow()
    from tfapp.tuning.crew import as_chief, with_processes
    from tfapp.tuning.search import begin_search, in_this_process, lead, prepare_resume

    with stop_on_signals() as stop, search_watcher(quiet=quiet) as watch:
        if run is None:
            found = begin_search(config, runs=folder, name=name)
        else:
            found = Run(run)
            prepare_resume(found, config)
        if chief is not None:
            say(f"serving workers at {chief.address}:{chief.port}", quiet=quiet)
            work = as_chief(chief, stop=stop)
        elif workers:
            told = watch.note
            work = with_processes(workers, found.path.parent, stop=stop, tell=told)
        else:
            work = in_this_process(data_folder(), stop=stop)
        grace = 10.0 if chief is not None else 0.0
        return lead(found, work, workers=workers or 1, grace=grace, watch=watch, stop=stop)


def resumed_search(
    name: str, runs: Path | None, assignments: Sequence[str], changes: Mapping[str, Any]
) -> tuple[Run, Config]:
    """Returns the run of a search that is to go on, and its config with what was typed.

    Args:
        name: Path or name of the run, or `latest`.
        runs: Folder of run directories.
        assignments: What `--set` was given.
        changes: Values by config key.

    Raises:
        MissingError: There is no such run, or it has no search.
    """
    from tfapp.config import load_config
    from tfapp.runs import find_run
    from tfapp.trials import config_file, read_search

    run = find_run(name, runs)
    read_search(run)
    return run, load_config(config_file(run), assignments, overrides=changes)


def work_for_chief(chief: Chief, runs: Path | None, *, quiet: bool) -> None:
    """Runs trials for a chief until it has no more.

    Args:
        chief: Where it is, and who this process is.
        runs: Folder of run directories.
        quiet: Show nothing.
    """
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.signals import stop_on_signals
    from tfapp.cli.workers import end_with_supervisor
    from tfapp.settings import data_folder, is_supervised, runs_folder

    load_tensorflow()
    from tfapp.tuning.crew import run_worker

    if is_supervised():
        end_with_supervisor()
    say(f"{chief.worker}: asking {chief.address}:{chief.port} for trials", quiet=quiet)
    with stop_on_signals() as stop:
        done = run_worker(chief, runs_folder(runs), data_folder(), stop=stop)
    say(f"{chief.worker}: ran {done} trials", quiet=quiet)
