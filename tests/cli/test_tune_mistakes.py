"""What can be got wrong about a search, typed as a user types it: the sentence, the code."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tfapp.config import load_config
from tfapp.errors import ExitCode
from tfapp.runs import Run
from tfapp.trials import Trial
from tfapp.tuning.journal import Journal
from tfapp.tuning.search import begin_search

RATE = ("--set", "tune.space.train.optimizer.learning_rate={float=[1e-3,1e-1],log=true}")
SMALL = ("tune", "--data", "iris", "--epochs", "1", "--trials", "1", *RATE)
PLACE = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


def refused(result, code: ExitCode, *said: str) -> None:
    """One error on stderr, the code, no traceback, nothing on stdout."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert result.err.startswith("error: ")
    for part in said:
        assert part in result.err


def space(text: str) -> tuple[str, str]:
    return ("--set", f"tune.space.{text}")


@pytest.fixture
def place(monkeypatch):
    """Sets KerasTuner's variables."""

    def be(*values: str) -> None:
        for variable, value in zip(PLACE, values, strict=False):
            monkeypatch.setenv(variable, value)

    return be


@pytest.fixture(scope="module")
def _begun(tmp_path_factory) -> Path:
    config = load_config(
        overrides={
            "data.source": "iris",
            "model.options": {"hidden": [4]},
            "tune.trials": 2,
            "tune.space": {"train.optimizer.learning_rate": {"float": [1e-3, 1e-1]}},
        }
    )
    return begin_search(config, runs=tmp_path_factory.mktemp("runs"), name="mine").path


@pytest.fixture
def begun(_begun, tmp_path) -> Path:
    """A search that has not come to its first trial: `runs/mine` in the test's folder."""
    return Path(shutil.copytree(_begun, tmp_path / "runs" / "mine"))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ("tune.space is empty", "[tune.space]", "--set 'tune.space.train.optimizer.learning")),
        (("--dry-run",), ("tune.space is empty",)),
        (
            space("train.optimizer.lerning_rate={float=[1e-3,1e-1]}"),
            ("tune.space.train.optimizer.lerning_rate", "'learning_rate'"),
        ),
        (space("train.epoch={int=[1,2]}"), ("tune.space.train.epoch", "Did you mean 'epochs'?")),
        (space("train.epochs={int=[0,2]}"), ("tune.space.train.epochs", "greater than 0")),
        (space("train.epochs={int=[5,2]}"), ("lowest value before a greater one", "[5, 2]")),
        (space("train.epochs=[1,2]"), ("tune.space.train.epochs", "a table, not a value")),
        (space("train.epochs={int=[1,2],choice=[3]}"), ("expected one of", "int and choice")),
        (space("train.epochs={}"), ("expected one of", "none of them")),
        (space("model.name={choice=['mlp','cnnn']}"), ("no model named 'cnnn'", "'cnn'")),
        (space("train.loss={choice=[]}"), ("choice is empty",)),
        (space("train.monitor={choice=['loss','val_loss']}"), ("about the search itself",)),
        (space("train.optimizer.learning_rate={float=[0,1],log=true}"), ("log needs a lowest",)),
        (
            space("data.batch_size={int=[8,64],when={'train.loss'='mse'}}"),
            ("depends on train.loss, which is not in the space",),
        ),
        (
            (*space("train.epochs={int=[1,2]}"), "--algorithm", "hyperband"),
            ("hyperband decides how long a trial trains",),
        ),
        ((*RATE, "--budget", "ten"), ("tune.budget", "90s, 30m, 2h or 1d", "'ten'")),
        ((*RATE, "--budget", "0s"), ("tune.budget", "'0s'")),
        ((*RATE, "--budget", "30"), ("tune.budget", "'30'")),
        ((*RATE, "--trials", "0"), ("--trials", "0")),
        ((*RATE, "--executions", "0"), ("--executions", "0")),
        ((*RATE, "--workers", "0"), ("--workers", "0")),
        ((*RATE, "--algorithm", "bayes"), ("--algorithm", "'bayes'")),
        ((*RATE, "--role", "boss"), ("--role", "'boss'")),
        ((*RATE, "--set", "tune.trial=3"), ("tune.trial: unknown. Did you mean 'trials'?",)),
        ((*RATE, "--objectiv", "loss"), ("Did you mean '--objective'?",)),
        ((*RATE, "--run", "a/b"), ("cannot be named 'a/b'",)),
        ((*RATE, "--data", "digitz"), ("no data set named 'digitz'",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_no_search_can_mean(cli, tmp_path, words, said):
    refused(cli("tune", "--data", "iris", *words), ExitCode.USAGE, *said)
    assert list(tmp_path.iterdir()) == [], "nothing was written"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--objective", "val_acuracy"), ("no objective named", "'val_accuracy'", "--objective")),
        (("--objective", "val_r2_score"), ("no objective named 'val_r2_score'", "val_loss")),
        (("--model", "cnn"), ("cnn", "[4]")),
        (space("model.options.hiden={choice=[[4],[8]]}"), ("no option 'hiden'", "'hidden'")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_only_data_and_model_can_tell(cli, tmp_path, words, said):
    for dry in ((), ("--dry-run",)):
        refused(cli(*SMALL, *words, *dry), ExitCode.USAGE, *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "words", "said"),
    [
        ((), ("--role", "chief"), ("--role chief is for", *PLACE, "leave --role out")),
        ((), ("--role", "worker"), ("--role worker is for", "'tuner0'")),
        (("chief",), (), ("KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT not set",)),
        (("", "127.0.0.1", "8000"), (), ("KERASTUNER_TUNER_ID not set",)),
        (("chief", "127.0.0.1", "http"), (), ("KERASTUNER_ORACLE_PORT is a port", "'http'")),
        (("chief", "127.0.0.1", "0"), (), ("a port from 1 to 65535", "'0'")),
        (("chief", "127.0.0.1", "65536"), (), ("a port from 1 to 65535", "'65536'")),
        (
            ("chief", "127.0.0.1", "8000"),
            ("--role", "worker"),
            ("--role worker, but KERASTUNER_TUNER_ID is 'chief', which names a chief",),
        ),
        (
            ("tuner0", "127.0.0.1", "8000"),
            ("--role", "chief"),
            ("--role chief, but KERASTUNER_TUNER_ID is 'tuner0', which names a worker",),
        ),
        (
            ("chief", "127.0.0.1", "8000"),
            ("--workers", "2"),
            ("--workers starts processes", "the chief of several", "unset KERASTUNER_TUNER_ID"),
        ),
        (
            ("tuner0", "127.0.0.1", "8000"),
            ("--workers", "2"),
            ("--workers starts processes", "the worker of several"),
        ),
        (
            ("tuner0", "127.0.0.1", "8000"),
            ("search.toml", "--trials", "3", *RATE, "--run", "x", "--dry-run"),
            ("CONFIG, --set, --run, --dry-run, --trials cannot go with --role worker",),
        ),
        (
            ("tuner0", "127.0.0.1", "8000"),
            ("--resume", "--role", "worker"),
            ("--resume cannot go with --role worker: the chief says what is searched",),
        ),
        (("chief", "192.0.2.1", "8000"), RATE, ("192.0.2.1:8000", "is not this machine's")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_place_among_machines_that_cannot_be(cli, tmp_path, place, variables, words, said):
    place(*variables)
    result = cli("tune", *words)
    refused(result, ExitCode.USAGE, *said)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_in_use_is_named_before_anything_is_written(cli, tmp_path, place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place("chief", "127.0.0.1", str(port))
        result = cli(*SMALL)
    refused(result, ExitCode.USAGE, f"127.0.0.1:{port}: the port is in use", PLACE[2])
    assert list(tmp_path.iterdir()) == []


def test_a_worker_whose_chief_is_not_there(cli, place, monkeypatch):
    place("tuner0", "127.0.0.1", "9")
    monkeypatch.setenv("TFAPP_WAIT_SECONDS", "1")
    result = cli("tune", "-q")
    refused(result, ExitCode.MISSING, "no chief has answered at 127.0.0.1:9 for 1 s", *PLACE[1:])


def test_more_workers_than_cores_are_noted_by_number(cli):
    result = cli(*SMALL, "--workers", "4096", "--objective", "nothing")
    assert result.code == ExitCode.USAGE
    note, error = result.err.splitlines()
    assert note.startswith("note: 4096 workers share ")
    assert note.endswith(" cores")
    assert "no objective named 'nothing'" in error


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("tune", "nowhere.toml"), ExitCode.MISSING, "no config file nowhere.toml"),
        (("tune", "--resume"), ExitCode.MISSING, "no run 'latest'"),
        (("tune", "--resume", "nothing"), ExitCode.MISSING, "no run 'nothing'"),
        (("tune", "--resume", "x", "--run", "y"), ExitCode.USAGE, "--run cannot go with --resume"),
        (
            ("tune", "search.toml", "--resume", "x", "--dry-run"),
            ExitCode.USAGE,
            "CONFIG, --dry-run cannot go with --resume: a search goes on with its own config",
        ),
        (("train", "--refit"), ExitCode.USAGE, "--set train.refit=true"),
        (("train", "--tune"), ExitCode.USAGE, "tune.space is empty"),
        (
            ("train", "--tune", "--workers", "2"),
            ExitCode.USAGE,
            "tfapp tune --workers 2, then: tfapp train --tune --resume",
        ),
        (("train", "--tune", "--resume", "nothing"), ExitCode.MISSING, "no run 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_not_there_or_does_not_go_together(cli, tmp_path, words, code, said):
    refused(cli(*words), code, said)
    assert list(tmp_path.iterdir()) == []


def test_train_does_not_search_beside_the_other_machines(cli, tmp_path, place, begun):
    place("tuner0", "127.0.0.1", "8000")
    before = snapshot(tmp_path)
    for words in (SMALL[1:5] + RATE, ("--resume", "mine")):
        result = cli("train", "--tune", *words)
        refused(result, ExitCode.USAGE, "in this process alone", f"unset {' '.join(PLACE)}")
    assert snapshot(tmp_path) == before


def test_a_taken_name_keeps_its_run(cli, digits_run):
    before = snapshot(digits_run.path)
    refused(cli(*SMALL, "--run", "digits"), ExitCode.USAGE, "exists", "--resume digits")
    assert snapshot(digits_run.path) == before


def test_a_run_without_a_search_has_none_to_go_on_with(cli, digits_run):
    for words in (("tune", "--resume", "digits"), ("train", "--tune", "--resume", "digits")):
        result = cli(*words)
        refused(result, ExitCode.MISSING, "run digits has no search", "Make one with tfapp tune")


def test_a_search_is_not_a_training_yet(cli, begun):
    before = snapshot(begun)
    refused(
        cli("train", "--resume", "mine"),
        ExitCode.USAGE,
        "run mine holds a search, whose best is not trained yet",
        "tfapp train --tune --resume mine",
    )
    refused(cli("evaluate", "mine"), ExitCode.MISSING, "checkpoint")
    assert snapshot(begun) == before


def test_a_search_that_is_another_now_does_not_go_on(cli, begun):
    before = snapshot(begun)
    refused(
        cli("tune", "--resume", "mine", "--epochs", "7", "--algorithm", "grid"),
        ExitCode.USAGE,
        "train.epochs was 20, is now 7",
        "tune.algorithm was 'random', is now 'grid'",
        "Only tune.trials and tune.budget may change",
    )
    result = cli("train", "--tune", "--resume", "mine", "--batch-size", "7")
    refused(result, ExitCode.USAGE, "data.batch_size was 64, is now 7")
    assert snapshot(begun) == before


def test_what_is_changed_of_a_complete_search_is_not_passed_over(cli, begun):
    end_search(begun)
    before = snapshot(begun)
    result = cli("train", "--tune", "--resume", "mine", "--batch-size", "7")
    refused(result, ExitCode.USAGE, "data.batch_size was 64, is now 7")
    refused(
        cli("tune", "--resume", "mine", "--trials", "2"),
        ExitCode.USAGE,
        "is complete: it has 2 trials",
        "tfapp tune --resume runs/mine --trials 4",
    )
    assert snapshot(begun) == before


def end_search(folder: Path) -> None:
    """Writes the rest of a journal as a leader does, with trials that were never trained."""
    journal = Journal(Run(folder))
    journal.session(trials=2)
    for number, rate in enumerate((0.01, 0.02)):
        values = {"train.optimizer.learning_rate": rate}
        journal.begin(Trial(number, values, epochs=20, worker="tuner0"))
        journal.end(Trial(number, values, state="done", scores=(0.5,), best_epoch=3))
    journal.over("done", "")


def test_the_folder_of_another_project(cli, tmp_path):
    """KerasTuner's own `oracle.json`, in a folder that happens to have our names."""
    other = tmp_path / "runs" / "theirs"
    (other / "tune").mkdir(parents=True)
    (other / "tune" / "oracle.json").write_text('{"ongoing_trials": {}, "seed": 3}')
    before = snapshot(tmp_path)
    refused(cli("tune", "--resume", "theirs"), ExitCode.USAGE, "not a run directory", "config.toml")
    refused(cli(*SMALL, "--run", "theirs"), ExitCode.USAGE, "runs/theirs exists")
    assert snapshot(tmp_path) == before
    (other / "config.toml").write_text("")
    refused(cli("tune", "--resume", "theirs"), ExitCode.MISSING, "no search", "journal.jsonl")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no json\n",
        "[1, 2]\n",
        '{"event": "begin", "trial": 0}\n',
        '{"event": "search", "format": 99}\n',
    ],
)
def test_a_journal_of_something_else(cli, begun, content):
    (begun / "tune" / "journal.jsonl").write_text(content)
    before = snapshot(begun)
    for words in (("tune", "--resume", "mine"), ("train", "--tune", "--resume", "mine")):
        refused(cli(*words), ExitCode.USAGE, "is no journal of a search", "--run NAME")
    assert snapshot(begun) == before


def test_typos_are_answered_without_tensorflow(tmp_path):
    """All in one process, in which nothing may have loaded it in the end."""
    commands = [
        ["tune", "--trails", "3"],
        ["tune", "--data", "iris"],
        ["tune", "--set", "tune.space.train.epoch={int=[1,2]}"],
        ["tune", *RATE, "--budget", "ten"],
        ["tune", *RATE, "--data", "digitz"],
        ["tune", *RATE, "--model", "mpl"],
        ["tune", "--role", "worker"],
        ["tune", "--resume", "nothing"],
        ["train", "--tune"],
        ["train", "--refit"],
        ["tune", "nowhere.toml"],
    ]
    script = (
        "import json, sys\nfrom tfapp.cli import main\n"
        "codes = [main(words) for words in json.loads(sys.argv[1])]\n"
        "loaded = {'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)\n"
        "print(json.dumps([codes, sorted(loaded)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(commands)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    codes, loaded = json.loads(done.stdout)
    assert loaded == []
    assert codes == [2, 2, 2, 2, 2, 2, 2, 4, 2, 2, 4], done.stderr
    assert done.stderr.count("error: ") == len(commands)
    assert "Did you mean '--trials'?" in done.stderr
