from __future__ import annotations

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfapp.config import load_config
from tfapp.errors import Diverged, ExitCode, Interrupted, RunExists
from tfapp.evaluation import evaluate_run
from tfapp.overview import show_run
from tfapp.runs import Run, summarize_run
from tfapp.training.checkpoints import Checkpoints
from tfapp.training.restore import load_trained
from tfapp.training.train import plan_training, train_model
from tfapp.training.writers import Writer

# 108 training examples: 9 steps an epoch.
IRIS = {
    "data.source": "iris",
    "data.batch_size": 12,
    "model.options": {"hidden": [8], "dropout": 0.2},
    "train.epochs": 4,
}
FULL = IRIS | {
    "train.optimizer": {
        "name": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "global_clipnorm": 1.0,
        "use_ema": True,
        "ema_momentum": 0.9,
    },
    "train.schedule": {"name": "cosine", "warmup_steps": 5},
}


def config_of(settings, **more):
    return load_config(overrides=settings | more)


def all_variables(run, step):
    """Every tensor of a checkpoint by its key."""
    reader = tf.train.load_checkpoint(str(Checkpoints(run.checkpoints).path(step) / "variables"))
    return {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if "VARIABLE_VALUE" in key
    }


class StopAfter:
    """Asks for a stop once a step is reached; as writer it learns the step."""

    def __init__(self, step, code=ExitCode.INTERRUPTED):
        self.step, self.code, self.reached = step, code, 0

    def __call__(self):
        return self.code if self.reached >= self.step else None

    @property
    def writer(self):
        stop = self

        class Watch(Writer):
            def progress(self, progress):
                stop.reached = progress.step

        return Watch()


def test_a_run_leaves_everything_a_reader_needs(tmp_path):
    result = train_model(config_of(IRIS), runs=tmp_path, name="mine")
    run = Run(tmp_path / "mine")
    assert result.path == run.path
    assert (result.state, result.epoch, result.step) == ("done", 4, 36)
    names = {path.name for path in run.path.iterdir()}
    assert names >= {
        "config.toml",
        "environment.json",
        "loop.json",
        "data.json",
        "samples.npz",
        "status.json",
        "metrics.jsonl",
        "log.txt",
        "checkpoints",
        "tensorboard",
    }
    assert run.config().train.loop == run.read_json("loop.json")["loop"] == "streaming"
    assert "loop streaming: not resident" in (run.path / "log.txt").read_text()
    rows = run.metrics()
    assert [(r["split"], r["step"]) for r in rows] == [
        (split, step) for step in (9, 18, 27, 36) for split in ("train", "validation")
    ]
    best = max(r["accuracy"] for r in rows if r["split"] == "validation")
    assert result.best == pytest.approx(best)
    assert summarize_run(run).state == "done"
    assert show_run(run).checkpoints[-1] == "step-000000036"
    assert (tmp_path / "latest").resolve() == run.path.resolve()


def test_the_resolved_config_trains_the_same_again(tmp_path):
    first = train_model(config_of(IRIS), runs=tmp_path, name="first")
    second = train_model(Run(first.path).config(), runs=tmp_path, name="second")
    assert Run(second.path).config() == Run(first.path).config()
    assert second.validation == first.validation
    for a, b in zip(
        all_variables(Run(first.path), 36).values(),
        all_variables(Run(second.path), 36).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_tensorboard_reads_both_splits_under_one_tag(tmp_path):
    result = train_model(config_of(IRIS), runs=tmp_path)
    rows = Run(result.path).metrics()
    for split in ("train", "validation"):
        events = EventAccumulator(str(result.path / "tensorboard" / split))
        events.Reload()
        found = [
            (e.step, tf.make_ndarray(e.tensor_proto).item()) for e in events.Tensors("accuracy")
        ]
        assert found == [
            (r["step"], pytest.approx(r["accuracy"])) for r in rows if r["split"] == split
        ]


def test_a_stop_while_data_is_loading_makes_no_run(tmp_path):
    with pytest.raises(Interrupted, match="before training began; nothing was written"):
        train_model(config_of(IRIS), runs=tmp_path, stop=lambda: ExitCode.INTERRUPTED)
    assert list(tmp_path.iterdir()) == []


def test_averages_of_an_optimizer_of_ones_own_are_loaded(tmp_path, monkeypatch):
    (tmp_path / "own_optimizer.py").write_text(
        "import keras\n"
        "def make(learning_rate):\n"
        "    return keras.optimizers.Adam(learning_rate, use_ema=True, ema_momentum=0.999)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    optimizer = {"name": "own_optimizer:make", "learning_rate": 0.05}
    result = train_model(config_of(IRIS, **{"train.optimizer": optimizer}), runs=tmp_path)
    found = evaluate_run(result.path, split="validation", step=result.step)
    assert found.metrics["loss"] == pytest.approx(result.validation["loss"], rel=1e-5)


def test_sigterm_has_its_own_exit_code(tmp_path):
    stop = StopAfter(1, ExitCode.TERMINATED)
    with pytest.raises(Interrupted) as caught:
        train_model(config_of(IRIS), runs=tmp_path, writers=[stop.writer], stop=stop)
    assert caught.value.exit_code == 143


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights(tmp_path):
    result = train_model(config_of(IRIS, **{"train.precision": "mixed_bfloat16"}), runs=tmp_path)
    trained = load_trained(Run(result.path))
    model = trained.predictor.model
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == "float32", "the notebook's own policy stays"
    assert result.best > 0.5


def test_divergence_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    config = config_of(
        IRIS,
        **{
            "train.optimizer": {"name": "sgd", "learning_rate": 1e18},
            "train.checkpoint.every_steps": 1,
        },
    )
    with pytest.raises(Diverged, match=r"step \d+: .* \(\d+ of \d+ values: (Inf|NaN)\)") as caught:
        train_model(config, runs=tmp_path, name="mine")
    assert caught.value.exit_code == ExitCode.DIVERGED
    run = Run(tmp_path / "mine")
    assert summarize_run(run).state == "diverged"
    newest = Checkpoints(run.checkpoints).newest()
    assert f"step {newest + 1}:" in str(caught.value)
    assert all(np.isfinite(v).all() for v in all_variables(run, newest).values())


def test_the_average_of_the_weights_is_what_is_evaluated_and_loaded(tmp_path):
    result = train_model(config_of(FULL), runs=tmp_path)
    run = Run(result.path)
    trained = load_trained(run, step=36)
    stored = all_variables(run, 36)
    state = json.loads((Checkpoints(run.checkpoints).path(36) / "state.json").read_text())
    paths = [path for path, _, _ in state["variables"]["optimizer"]]
    averages = [
        stored[f"optimizer/{index:04d}/.ATTRIBUTES/VARIABLE_VALUE"]
        for index, path in enumerate(paths)
        if path.endswith("_average")
    ]
    for variable, average in zip(
        trained.predictor.model.trainable_variables, averages, strict=True
    ):
        np.testing.assert_array_equal(np.array(variable), average)


def test_balanced_weights_make_the_rare_class_count(tmp_path):
    table = tmp_path / "rows.csv"
    rows = [f"{(i * 37) % 101 - 50},{'rare' if i % 10 == 0 else 'often'}" for i in range(200)]
    table.write_text("\n".join(["x,label", *rows]))
    settings = IRIS | {"data.source": str(table), "train.class_weights": "balanced"}
    from tfapp.training.assembly import assemble

    parts = assemble(load_config(overrides=settings), data_dir=tmp_path)
    labels = parts.splits.train.labels
    counts = np.bincount(labels)
    logits = tf.zeros([2, 2])
    for index in range(2):
        loss = float(parts.loss(tf.constant([index, index]), logits))
        assert loss == pytest.approx(np.log(2) * len(labels) / (2 * counts[index]), rel=1e-5)


def test_a_taken_name_is_refused_before_anything_is_written(tmp_path, digits_run):
    before = sorted(p.name for p in digits_run.path.rglob("*"))
    with pytest.raises(RunExists, match="--resume digits"):
        train_model(config_of(IRIS), runs=digits_run.path.parent, name="digits")
    assert sorted(p.name for p in digits_run.path.rglob("*")) == before


def test_a_plan_tells_sizes_and_writes_no_run(tmp_path):
    plan = plan_training(config_of(IRIS), runs=tmp_path / "runs")
    assert plan.sizes == {"train": 108, "validation": 12, "test": 30}
    # 4 inputs to 8 to 3 classes, weights and biases
    assert plan.parameters == 4 * 8 + 8 + 8 * 3 + 3
    assert (plan.steps_per_epoch, plan.total_steps) == (9, 36)
    assert 'loss = "sparse_categorical_crossentropy"' in plan.config
    assert not (tmp_path / "runs").exists()


def test_the_quadratic_follows_its_closed_form(tmp_path):
    """(w - 5)^2 by gradient descent at 0.01 from 0: w_n = 5 (1 - 0.98^n)."""
    config = load_config(
        overrides={
            "data.source": "synthetic/coefficients",
            "model.name": "quadratic",
            "train.optimizer": {"name": "sgd", "learning_rate": 0.01},
            "train.epochs": 5,
        }
    )
    result = train_model(config, runs=tmp_path)
    (weight,) = load_trained(Run(result.path), step=result.step).predictor.model.variables
    assert float(weight) == pytest.approx(5 * (1 - 0.98**result.step), rel=1e-5)


def test_status_is_json_that_says_who_trains(tmp_path, digits_run):
    status = json.loads((digits_run.path / "status.json").read_text())
    assert status["state"] == "done"
    assert status["step"] == status["total_steps"]


def test_a_run_whose_folder_vanished_is_reported(tmp_path, digits_run):
    shutil.rmtree(digits_run.checkpoints)
    from tfapp.errors import MissingError

    with pytest.raises(MissingError, match="no checkpoint in"):
        load_trained(digits_run)
