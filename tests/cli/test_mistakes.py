"""What a user can get wrong, typed as a user types it: the sentence, the code, nothing lost."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfapp.errors import ExitCode

SMALL = ("--data", "iris", "--epochs", "2", "-q")


def refused(result, code: ExitCode, *said: str) -> None:
    """One or two sentences on stderr, the code, no traceback, nothing on stdout."""
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert result.err.startswith("error: ")
    for part in said:
        assert part in result.err


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "mpl"), ("no model named 'mpl'", "Did you mean 'mlp'?")),
        (("--data", "digit"), ("no data set named 'digit'", "Did you mean 'digits'?")),
        (("--optimizer", "adamm"), ("no optimizer named 'adamm'", "Did you mean 'adam'?")),
        (("--loss", "hubr"), ("no loss named 'hubr'", "Did you mean 'huber'?")),
        (("--set", "train.metrics=['acuracy']"), ("no metric named", "'accuracy'")),
        (("--set", "train.schedule.name=cosin"), ("no schedule named", "'cosine'")),
        (("--set", "train.optimizer.beta1=0.9"), ("no option 'beta1'", "'beta_1'")),
        (("--set", "model.options.hiden=[8]"), ("no option 'hiden'", "'hidden'")),
        (("--set", "model.options.dropout=2"), ("dropout", "2")),
        (("--set", "train.monitor=val_acc"), ("value to monitor", "val_accuracy")),
        (("--set", "train.class_weights=[1.0]"), ("has 1 weights", "3 classes")),
        (("--set", "train.class_weights=[0,0,0]"), ("all 0",)),
        (("--set", "train.optimizer.clipnorm=-1"), ("clipnorm is a number from 0 up",)),
        (("--set", "train.metrics=['r2_score']"), ("'r2_score' is not for classification",)),
        (("--model", "cnn"), ("cnn", "[4]")),
        (("--model", "course"), ("1 wide", "3 classes", "tfapp models list")),
        (("--run", "a/b"), ("cannot be named 'a/b'",)),
        (("--run", ""), ("cannot be named ''",)),
        (("--learning-rate", "inf"), ("finite",)),
        (("--set", "train.schedule.warmup_steps=1000"), ("warmup_steps is 1000", "steps")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_word_is_answered_with_the_right_one(cli, tmp_path, words, said):
    refused(cli("train", *SMALL, *words), ExitCode.USAGE, *said)
    assert not (tmp_path / "runs").exists(), "no run was made"


def test_both_mistakes_are_named_at_once(cli):
    result = cli(
        *("train", "--model", "mlp", "--data", "digits"),
        *("--set", "train.epoch=3", "--set", "data.batch=0"),
    )
    refused(result, ExitCode.USAGE, "Did you mean 'epochs'?", "Did you mean 'batch_size'?")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("train", "nowhere.toml"), ExitCode.MISSING, "no config file nowhere.toml"),
        (("train", "--data", "nowhere/"), ExitCode.MISSING, "no file or folder nowhere/"),
        (("train", "--data", "./nowhere.csv"), ExitCode.MISSING, "no file or folder"),
        (("train", "--resume"), ExitCode.MISSING, "no run 'latest'"),
        (("evaluate", "nothing"), ExitCode.MISSING, "no run 'nothing'"),
        (("predict", "nothing", "x.csv"), ExitCode.MISSING, "no run 'nothing'"),
        (("trian",), ExitCode.USAGE, "Did you mean 'train'?"),
        (("train", "--modle", "mlp"), ExitCode.USAGE, "Did you mean '--model'?"),
        (("runs", "compare", "one"), ExitCode.USAGE, "two runs or more"),
        (("models", "show", "mlp", "--shape", "big"), ExitCode.USAGE, "32,32,3"),
        (("train", "--resume", "x", "--name", "y"), ExitCode.USAGE, "--name cannot go with"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_not_there_or_not_meant(cli, words, code, said):
    refused(cli(*words), code, said)


@pytest.fixture
def broken(tmp_path) -> Path:
    """Files and folders that cannot be used, by name."""
    folder = tmp_path / "broken"
    (folder / "empty").mkdir(parents=True)
    (folder / "text.csv").write_text("a,b,label\n1,2,x\n3,four,y\n5,6,x\n7,8,y\n")
    (folder / "hole.csv").write_text("a,b,label\n1,2,x\n3,nan,y\n5,6,x\n7,8,y\n")
    (folder / "nothing.csv").write_text("")
    for name, size in (("cat/1", 8), ("dog/1", 9)):
        (folder / "sizes" / name).parent.mkdir(parents=True)
        image = tf.io.encode_png(np.zeros([size, size, 1], np.uint8)).numpy()
        (folder / "sizes" / f"{name}.png").write_bytes(image)
    x, y = np.zeros([40, 3], np.float32), np.arange(40) % 2
    np.savez(folder / "widths.npz", x_train=x, y_train=y, x_test=x[:, :2], y_test=y)
    np.savez(folder / "nan.npz", x=np.where(np.arange(120).reshape(40, 3) == 7, np.nan, x), y=y)
    (folder / "no.npz").write_text("no archive")
    return folder


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("empty", ExitCode.USAGE, ("no images in",)),
        ("text.csv", ExitCode.USAGE, ("text.csv, line 3, column 'b'", "'four'")),
        ("hole.csv", ExitCode.USAGE, ("hole.csv, line 3, column 'b'", "'nan'")),
        ("nothing.csv", ExitCode.USAGE, ("is empty",)),
        ("sizes", ExitCode.USAGE, ("8x8", "9x9", "data.image_size")),
        ("widths.npz", ExitCode.USAGE, ("x_test[0] has the shape [2]", "[3]")),
        ("nan.npz", ExitCode.USAGE, ("nan.npz: x[2]", "not finite")),
        ("no.npz", ExitCode.USAGE, ("cannot be read as .npz", "numpy.savez")),
    ],
)
def test_data_that_cannot_be_used(cli, tmp_path, broken, name, code, said):
    before = snapshot(broken)
    refused(cli("train", "--data", broken / name, "-q"), code, *said)
    assert snapshot(broken) == before
    assert not (tmp_path / "runs").exists()


def test_a_label_outside_the_classes(cli, broken):
    words = ("--data", broken / "text.csv", "--set", 'data.classes=["x","z"]', "-q")
    (broken / "text.csv").write_text("a,label\n1,x\n3,y\n5,z\n7,x\n")
    refused(cli("train", *words), ExitCode.USAGE, "text.csv, line 3", "'y'", "x, z")


_MODELS = """
    import keras, tensorflow as tf

    class Raises(keras.Model):
        def __init__(self, outputs):
            super().__init__()
            self.out = keras.layers.Dense(outputs)

        def call(self, x, training=False):
            if training:
                raise RuntimeError("boom in training")
            return self.out(x)

    class Narrow(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(2)

        def call(self, x, training=False):
            return self.out(x)

    class Soft(Narrow):
        def __init__(self, outputs):
            super().__init__()
            self.out = keras.layers.Dense(outputs, activation="softmax")

    number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> None:
    (tmp_path / "own_models.py").write_text(textwrap.dedent(_MODELS))
    (tmp_path / "broken_models.py").write_text("def oops(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("nowhere:Mine", ExitCode.USAGE, "no module named 'nowhere'"),
        ("broken_models:Mine", ExitCode.USAGE, "SyntaxError"),
        ("own_models:Narow", ExitCode.USAGE, "Did you mean 'Narrow'?"),
        ("own_models:number", ExitCode.USAGE, "subclass of keras.Model"),
        ("own_models:Narrow", ExitCode.USAGE, "2 wide, but iris has 3 classes"),
        ("own_models:Raises", ExitCode.FAILED, "boom in training"),
    ],
)
def test_a_model_of_ones_own_that_does_not_work(cli, own, name, code, said):
    refused(cli("train", "--data", "iris", "--epochs", "2", "-q", "--model", name), code, said)


def test_a_model_that_ends_in_softmax_is_recognized(cli, own):
    result = cli(
        "train", "--data", "iris", "--model", "own_models:Soft", "--epochs", "1", "--run", "m"
    )
    assert result.code == 0
    assert 'outputs = "probabilities"' in Path("runs/m/config.toml").read_text()


def test_a_taken_name_keeps_its_run(cli, digits_run, tmp_path):
    before = snapshot(digits_run.path)
    refused(
        cli("train", *SMALL, "--run", "digits"), ExitCode.USAGE, "runs/digits exists", "--resume"
    )
    assert snapshot(digits_run.path) == before


def test_the_checkpoint_of_another_model(cli, digits_run):
    config = digits_run.path / "config.toml"
    config.write_text(config.read_text().replace("32,", "16,"))
    refused(cli("evaluate", "digits"), ExitCode.FAILED, "belongs to another model", "16", "32")


def test_a_truncated_checkpoint(cli, digits_run):
    for file in digits_run.checkpoints.glob("*/variables.data*"):
        file.write_bytes(file.read_bytes()[:50])
    refused(cli("evaluate", "digits"), ExitCode.FAILED, "is damaged", "--step")


def test_checkpoints_that_are_gone(cli, digits_run):
    shutil.rmtree(digits_run.checkpoints)
    refused(cli("evaluate", "digits"), ExitCode.MISSING, "no checkpoint")
    refused(
        cli("train", "--resume", "digits", "--epochs", "9", "-q"), ExitCode.MISSING, "holds none"
    )


def test_a_truncated_saved_model(cli, digits_run, tmp_path):
    assert cli("export", "digits", "-q").code == 0
    graph = tmp_path / "saved_models" / "digits-mlp" / "1" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    words = ("predict", "saved_models/digits-mlp", digits_run.path / "samples.npz")
    refused(cli(*words), ExitCode.FAILED, "is damaged: saved_model.pb", "tfapp export")


@pytest.mark.parametrize("file", ["config.toml", "data.json", "status.json"])
def test_a_damaged_file_of_a_run(cli, digits_run, file):
    (digits_run.path / file).write_text("{")
    words = ("runs", "show") if file == "status.json" else ("evaluate",)
    refused(cli(*words, "digits"), ExitCode.USAGE, file)
    assert "digits" in cli("runs", "list").out, "the list goes on"


def test_data_that_has_changed_is_not_evaluated_as_if_it_were_the_same(cli, tmp_path):
    table = tmp_path / "t.csv"
    rows = [f"{i},{'ab'[i % 2]}" for i in range(60)]
    table.write_text("\n".join(["x,label", *rows]))
    assert cli("train", "--data", table, "--epochs", "1", "--run", "mine", "-q").code == 0
    table.write_text("\n".join(["x,label", *rows[:40]]))
    refused(
        cli("evaluate", "mine"), ExitCode.USAGE, "has changed since run mine", f"--data {table}"
    )
    assert cli("evaluate", "mine", "--data", table, "-q").code == 0


def test_a_split_that_other_data_does_not_have(cli, digits_run):
    words = ("evaluate", "digits", "--data", "digits", "--split", "validation")
    refused(cli(*words), ExitCode.USAGE, "no validation split", "train, test")


def test_the_environment_does_not_change_a_run_that_is_resumed(cli, digits_run, monkeypatch):
    monkeypatch.setenv("TFAPP_TRAIN_EPOCHS", "7")
    refused(
        cli("train", "--resume", "digits"), ExitCode.USAGE, "complete: 3 epochs are done, 3 were"
    )


def test_folders_that_cannot_be_made(cli, digits_run, tmp_path):
    """The operating system refuses for real, to root as well: a file is where a folder must be."""
    (tmp_path / "file").write_text("mine")
    trained = cli("train", *SMALL, "--runs", tmp_path / "file" / "runs")
    exported = cli("export", digits_run.path, "--output", tmp_path / "file" / "models")
    for result in (trained, exported):
        refused(result, ExitCode.FAILED, "cannot write", "Not a directory", "may write to")
    assert (tmp_path / "file").read_text() == "mine"


def test_without_network_a_data_set_of_tfds_says_how_to_get_it(cli, monkeypatch):
    monkeypatch.setattr("tfapp.data.tfds.first_unreachable", lambda urls: "storage.example")
    result = cli("train", "--data", "mnist")
    refused(result, ExitCode.MISSING, "tfapp data prepare mnist", "TFAPP_DATA", "digits")


def test_another_backend_of_keras(cli, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    refused(cli("train", *SMALL), ExitCode.USAGE, "KERAS_BACKEND is 'jax'", "export")


def test_divergence_has_its_code_and_keeps_the_run(cli):
    words = ("--learning-rate", "1e30", "--optimizer", "sgd", "--run", "mine")
    refused(cli("train", *SMALL, *words), ExitCode.DIVERGED, "step ", "is not finite")
    assert "diverged" in cli("runs", "list").out


def test_debug_shows_where(cli):
    result = cli("train", "--data", "./nowhere.csv", "--debug")
    assert "Traceback" in result.err
    assert result.code == ExitCode.MISSING


def test_a_dry_run_refuses_a_loop_that_cannot_hold_the_data(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("tfapp.training.calibration.free_memory", lambda: 1)
    for dry in ((), ("--dry-run",)):
        result = cli("train", *SMALL, "--set", "train.loop=resident", *dry)
        refused(result, ExitCode.USAGE, "train.loop 'resident'", "0 MB are free", "'streaming'")
    assert not (tmp_path / "runs").exists()
