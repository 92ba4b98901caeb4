from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfapp.config import Config
from tfapp.errors import ExitCode, MissingError, RunExists, StorageError, UsageError
from tfapp.locks import hold, process_alive
from tfapp.overview import compare_runs, list_runs, show_run
from tfapp.runs import (
    Run,
    check_free,
    claim_run,
    find_run,
    flatten,
    open_run,
    summarize_run,
    write_whole,
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def claim(runs: Path) -> Callable[..., Run]:
    """Claims runs one after another, each a second newer than the one before."""
    made: list[Run] = []

    def claim_next(name: str, config: Config | None = None, **status: Any) -> Run:
        run = claim_run(runs, config or Config(), name=name)
        made.append(run)
        os.utime(run.path / "config.toml", (len(made), len(made)))
        if status:
            run.write_json("status.json", status)
        return run

    return claim_next


@pytest.fixture
def dead_pid() -> int:
    """A process id that was one and is none any more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that may not be written, also not by root: it works as another user meanwhile."""
    (tmp_path / "old.json").write_text("old")
    tmp_path.chmod(0o555)
    monkeypatch.chdir(tmp_path)  # so that no folder above has to let the other user through
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)
    try:
        yield Path()
    finally:
        if me == 0:
            os.seteuid(me)
        tmp_path.chmod(0o755)


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_claim_writes_the_config_and_points_latest_at_it(runs: Path):
    run = claim_run(runs, Config(seed=7), name="first")
    assert run.path == runs / "first"
    assert run.config() == Config(seed=7)
    assert (runs / "latest").resolve() == run.path.resolve()
    assert names_in(runs) == ["first", "latest"]


def test_name_is_the_time_in_utc_and_the_label(runs: Path):
    assert re.fullmatch(r"\d{8}-\d{6}-digits-mlp", claim_run(runs, Config()).name)


def test_runs_of_one_second_get_names_of_their_own(runs: Path):
    claimed = [claim_run(runs, Config()).path for _ in range(5)]
    assert len(set(claimed)) == 5


def test_runs_claimed_at_the_same_time_are_never_shared(runs: Path):
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim_run(runs, Config()).path, range(24)))
    assert len(set(claimed)) == 24
    assert {p.name for p in claimed} == set(names_in(runs)) - {"latest"}


def test_only_one_of_many_gets_a_given_name(runs: Path):
    def attempt(seed: int) -> int | None:
        try:
            claim_run(runs, Config(seed=seed), name="wanted")
        except RunExists:
            return None
        return seed

    with ThreadPoolExecutor(8) as pool:
        winners = [seed for seed in pool.map(attempt, range(16)) if seed is not None]
    assert len(winners) == 1
    assert Run(runs / "wanted").config().seed == winners[0]


def test_latest_moves_to_the_newest(runs: Path):
    for name in ("first", "second"):
        claim_run(runs, Config(), name=name)
        assert find_run("latest", runs).name == name


def test_latest_of_a_moved_folder_still_works(runs: Path, tmp_path: Path):
    claim_run(runs, Config(), name="first")
    moved = runs.rename(tmp_path / "elsewhere")
    assert find_run("latest", moved).path == moved / "first"


def test_taken_name_leaves_the_old_run_untouched(runs: Path):
    old = claim_run(runs, Config(seed=1), name="mine")
    old.write_json("status.json", {"state": "done"})
    claim_run(runs, Config(), name="other")
    before = {p.name: p.read_bytes() for p in old.path.iterdir()}
    with pytest.raises(RunExists) as caught:
        claim_run(runs, Config(seed=2), name="mine")
    assert {p.name: p.read_bytes() for p in old.path.iterdir()} == before
    assert find_run("latest", runs).name == "other"
    assert "nothing in it was touched" in str(caught.value)
    assert "--resume mine" in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_name_can_be_checked_before_the_work(runs: Path):
    check_free(runs, "mine")
    check_free(runs, None)
    claim_run(runs, Config(), name="mine")
    check_free(runs, None)
    with pytest.raises(RunExists, match="--run name"):
        check_free(runs, "mine")


@pytest.mark.parametrize("name", ["latest", "a/b", "/tmp/x", "..", ".", "a/"])
def test_name_that_is_no_folder_of_its_own_is_refused(runs: Path, name: str):
    with pytest.raises(UsageError) as caught:
        claim_run(runs, Config(), name=name)
    assert f"a run cannot be named {name!r}" in str(caught.value)
    assert "--runs" in str(caught.value)
    assert not runs.exists()


def test_claim_that_cannot_write_leaves_the_name_free(runs: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="No space left on device"):
            claim_run(runs, Config(), name="mine")
    assert names_in(runs) == []
    assert claim_run(runs, Config(), name="mine").config() == Config()


def test_folder_of_runs_below_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as caught:
        claim_run(tmp_path / "file" / "runs", Config())
    assert f"cannot write {tmp_path / 'file' / 'runs'}: Not a directory." in str(caught.value)
    assert "Choose a folder that you may write to" in str(caught.value)
    assert caught.value.exit_code == ExitCode.FAILED


def test_file_in_place_of_the_folder_of_runs_is_refused(tmp_path: Path):
    (tmp_path / "runs").write_text("kept")
    with pytest.raises(StorageError, match="File exists"):
        claim_run(tmp_path / "runs", Config())
    assert (tmp_path / "runs").read_text() == "kept"


def test_folder_of_someone_else_is_refused(read_only: Path):
    with pytest.raises(StorageError, match="Permission denied"):
        claim_run(read_only, Config(), name="mine")
    with pytest.raises(StorageError) as caught:
        write_whole(read_only / "old.json", "new")
    assert f"cannot write {read_only / 'old.json'}: Permission denied." in str(caught.value)
    assert (read_only / "old.json").read_text() == "old"
    assert names_in(read_only) == ["old.json"]


def test_run_is_found_by_name_by_path_and_as_latest(runs: Path):
    run = claim_run(runs, Config(), name="mine")
    for name in ("mine", run.path, str(run.path), "latest", runs / "latest"):
        found = find_run(name, runs)
        assert found == run
        assert found.name == "mine"


def test_run_is_opened_by_itself_or_by_name(runs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFAPP_RUNS", str(runs))
    run = claim_run(runs, Config(), name="mine")
    assert open_run(run) is run
    assert open_run("mine") == run
    assert open_run(run.path) == run


def test_folder_of_the_same_name_does_not_hide_a_run(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = claim_run(runs, Config(), name="digits")
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_run("digits", runs) == run


def test_missing_run_names_the_nearest(runs: Path):
    claim_run(runs, Config(), name="baseline")
    with pytest.raises(MissingError) as caught:
        find_run("baselin", runs)
    assert str(caught.value) == (
        f"no run 'baselin', neither as a path nor in {runs}/. Did you mean 'baseline'?"
        " List them with tfapp runs list."
    )
    assert caught.value.exit_code == ExitCode.MISSING


@pytest.mark.parametrize("name", ["latest", "mine"])
def test_without_any_run_the_way_to_make_one_is_told(runs: Path, name: str):
    with pytest.raises(MissingError, match="Make one with tfapp train"):
        find_run(name, runs)


def test_latest_whose_run_was_deleted_is_missing(runs: Path):
    run = claim_run(runs, Config(), name="gone")
    (run.path / "config.toml").unlink()
    run.path.rmdir()
    with pytest.raises(MissingError, match="no run 'latest'"):
        find_run("latest", runs)
    assert list_runs(runs) == []


def test_folder_that_is_no_run_is_refused(runs: Path):
    (runs / "stuff").mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        find_run("stuff", runs)
    assert "stuff is not a run directory: it has no config.toml" in str(caught.value)
    assert "tfapp runs list" in str(caught.value)


def test_list_is_newest_first_and_holds_runs_only(runs: Path, claim: Callable[..., Run]):
    for name in ("b", "c", "a"):
        claim(name, state="done")
    (runs / "notes.txt").write_text("")
    (runs / "not-a-run").mkdir()
    assert [summary.name for summary in list_runs(runs)] == ["a", "c", "b"]


def test_list_of_no_folder_is_empty(runs: Path):
    assert list_runs(runs) == []


def test_summary_tells_where_a_run_stands(claim: Callable[..., Run]):
    run = claim(
        "mine",
        Config(data={"source": "iris"}, model={"name": "two_layer"}),
        state="done",
        step=120,
        epoch=4,
        monitor="val_accuracy",
        best={"value": 0.75, "step": 90},
        seconds=3.5,
    )
    summary = summarize_run(run)
    assert (summary.name, summary.state) == ("mine", "done")
    assert (summary.model, summary.data) == ("two_layer", "iris")
    assert (summary.step, summary.epoch, summary.seconds) == (120, 4, 3.5)
    assert (summary.monitor, summary.best) == ("val_accuracy", 0.75)


def test_run_without_a_best_epoch_has_none(claim: Callable[..., Run]):
    assert summarize_run(claim("a", state="running", pid=os.getpid(), best=None)).best is None


def test_running_is_believed_while_the_process_lives(claim: Callable[..., Run], dead_pid: int):
    run = claim("a", state="running", pid=os.getpid())
    with hold(run.lock):
        assert summarize_run(run).state == "running"
    assert summarize_run(run).state == "killed", "the number of its process may be another's by now"
    assert summarize_run(claim("c", state="running")).state == "killed"
    assert summarize_run(claim("d", state="done", pid=dead_pid)).state == "done"


def test_process_is_alive_or_not(dead_pid: int):
    assert process_alive(os.getpid())
    assert process_alive(1)  # exists, whether or not we may signal it
    assert not process_alive(dead_pid)
    assert not process_alive(0)
    assert not process_alive(-1)


def test_run_that_never_wrote_a_status_has_failed(claim: Callable[..., Run]):
    assert summarize_run(claim("mine")).state == "failed"


@pytest.mark.parametrize("file", ["status.json", "config.toml"])
@pytest.mark.parametrize("content", [b'{"state": "do', b"\xff\xfe", b"[1, 2]"])
def test_damaged_file_is_named_and_does_not_hide_other_runs(
    runs: Path, claim: Callable[..., Run], file: str, content: bytes
):
    claim("whole", state="done")
    damaged = claim("damaged", state="done")
    (damaged.path / file).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        summarize_run(damaged)
    assert str(damaged.path / file) in str(caught.value)
    assert {s.name: s.state for s in list_runs(runs)} == {"whole": "done", "damaged": "damaged"}


def test_missing_file_reads_as_empty(claim: Callable[..., Run]):
    assert claim("mine").read_json("evaluation.json") == {}


def test_json_reads_back(claim: Callable[..., Run]):
    run, content = claim("mine"), {"a": [1, 2.5, None], "ö": {"b": True}}
    run.write_json("data.json", content)
    assert run.read_json("data.json") == content


def test_metrics_end_at_a_line_that_was_cut(claim: Callable[..., Run]):
    run = claim("mine")
    assert run.metrics() == []
    rows = [{"split": "train", "step": n, "loss": 0.5} for n in range(3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    run.metrics_file.write_text(text)
    assert run.metrics() == rows
    run.metrics_file.write_text(text[: text.rindex('"loss"')])
    assert run.metrics() == rows[:2]


@given(st.integers(0, 200))
def test_metrics_cut_anywhere_are_the_lines_before(tmp_path_factory: Any, at: int):
    rows = [{"split": "val", "step": n, "name": "größe"} for n in range(4)]
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    run = Run(tmp_path_factory.getbasetemp())
    run.metrics_file.write_bytes(b"\n".join(lines)[:at])
    ends = [len(b"\n".join(lines[: n + 1])) for n in range(4)]
    assert run.metrics() == rows[: sum(end <= at for end in ends)]


def test_report_lists_checkpoints_and_files(claim: Callable[..., Run]):
    run = claim("mine", Config(seed=3), state="done")
    for name in ("step-00000020", "step-00000010", "other"):
        (run.checkpoints / name).mkdir(parents=True)
    run.plots.mkdir()
    run.write_json("evaluation.json", {"metrics": {"accuracy": 0.5}})
    report = show_run(run)
    assert report.checkpoints == ("step-00000010", "step-00000020")
    assert report.files == ("config.toml", "evaluation.json", "plots", "status.json")
    assert report.evaluation == {"metrics": {"accuracy": 0.5}}
    assert report.config["seed"] == 3
    assert report.path == run.path
    assert report.summary == summarize_run(run)


def test_comparison_names_the_keys_that_differ(claim: Callable[..., Run]):
    one = claim("one", Config(seed=1, train={"optimizer": {"name": "sgd", "momentum": 0.9}}))
    two = claim("two", Config(seed=2, model={"options": {"hidden": [3]}}))
    three = claim("three", Config(seed=2))
    comparison = compare_runs([one, two, three])
    assert [run.name for run in comparison.runs] == ["one", "two", "three"]
    assert comparison.differences == {
        "model.options.hidden": (None, [3], None),
        "seed": (1, 2, 2),
        "train.optimizer.momentum": (0.9, None, None),
        "train.optimizer.name": ("sgd", "auto", "auto"),
    }


def test_equal_configs_have_no_differences(claim: Callable[..., Run]):
    assert compare_runs([claim("one"), claim("two")]).differences == {}


def test_flatten_joins_keys_with_dots():
    assert flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": {}}) == {"a.b.c": 1, "a.d": [2]}


@pytest.mark.parametrize("content", ["text ü\n", b"\x00\xff", ""])
def test_write_replaces_the_whole_file(tmp_path: Path, content: str | bytes):
    path = tmp_path / "file"
    path.write_bytes(b"something much longer than what comes next")
    write_whole(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_refused_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    path = tmp_path / "status.json"
    path.write_text("old")
    done = getattr(Path, step)

    def half(self: Path, given: Any) -> Any:
        if step == "write_bytes":
            done(self, given[:2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, half)
        with pytest.raises(StorageError) as caught:
            write_whole(path, "new content")
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["status.json"]
    assert str(caught.value).startswith(f"cannot write {path}: No space left on device.")


def test_reader_sees_the_old_or_the_new_content_only(tmp_path: Path):
    path = tmp_path / "status.json"
    contents = {"a" * 200_000, "b" * 300_000}
    write_whole(path, "a" * 200_000)
    seen: set[str] = set()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [write_whole(path, c) for c in sorted(contents) * 20])
        while not writing.done():
            seen.add(path.read_text())
        writing.result()
    assert seen <= contents
