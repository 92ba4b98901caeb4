"""What `build_model` accepts from outside, and what it answers to a mistake."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tfapp.errors import ExitCode, ModelMismatch, UnknownName, UsageError
from tfapp.models import build_model
from tfapp.models.cnn import CNN

OWN_MODELS = """
    import keras
    import tensorflow as tf

    class Mine(keras.Model):
        def __init__(self, outputs, width=8):
            super().__init__()
            self.body = keras.layers.Dense(width, "relu")
            self.head = keras.layers.Dense(outputs)

        def call(self, x):
            return self.head(self.body(keras.ops.reshape(x, (keras.ops.shape(x)[0], -1))))

    class Fixed(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(7)

        def call(self, x, training=False):
            return self.head(x)

    class Open(Mine):
        def __init__(self, outputs, **rest):
            super().__init__(outputs, width=rest.pop("size", 4))

    class Needy(Fixed):
        def __init__(self, tables):
            super().__init__()

    class Raw(tf.Module):
        def __init__(self, feature_shape, outputs):
            super().__init__()
            self.w = tf.Variable(tf.ones([feature_shape[0], outputs]))

        def __call__(self, x, training):
            return x @ self.w

    class Frozen(Fixed):
        def __init__(self):
            super().__init__()
            self.head.trainable = False

    class Flat(Fixed):
        def call(self, x):
            return tf.reduce_sum(self.head(x), axis=1)

    class Pair(Fixed):
        def call(self, x):
            return self.head(x), x

    class Crash(Fixed):
        def call(self, x):
            raise RuntimeError("the fuse is out\\nsecond line")

    def functional(feature_shape, outputs, width=3):
        inputs = keras.Input(feature_shape)
        return keras.Model(inputs, keras.layers.Dense(outputs)(keras.layers.Dense(width)(inputs)))

    def number():
        return 3

    finished = keras.Sequential([keras.layers.Dense(1)])
    """


@pytest.fixture(autouse=True)
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_models.py").write_text(textwrap.dedent(OWN_MODELS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_models", None)


def build(name: str, options: dict[str, Any] | None = None, shape: tuple[int, ...] = (4,)) -> Any:
    return build_model(name, options or {}, feature_shape=shape, outputs=3)


def refusal(name: str, options: dict[str, Any] | None = None) -> str:
    with pytest.raises(ModelMismatch) as caught:
        build(name, options)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    return str(caught.value)


def test_registered_model_gets_outputs_and_is_built():
    model = build("mlp", {"hidden": [5]}, (2, 2))
    assert [tuple(w.shape) for w in model.weights] == [(4, 5), (5,), (5, 3), (3,)]


def test_outputs_of_the_user_win():
    assert build("mlp", {"outputs": 9})(tf.zeros([1, 4])).shape == (1, 9)


def test_tf_module_gets_the_feature_shape():
    model = build("raw_mlp", {"hidden": [5]}, (2, 2))
    assert not isinstance(model, keras.Model)
    assert model.weights[0].shape == (4, 5)


def test_own_class_without_build_or_training_is_built_by_calling_it():
    model = build("own_models:Mine", {"width": 6}, (2, 2))
    assert [tuple(w.shape) for w in model.weights] == [(4, 6), (6,), (6, 3), (3,)]


def test_own_class_without_outputs_keeps_its_own():
    assert build("own_models:Fixed")(tf.zeros([1, 4])).shape == (1, 7)


def test_own_class_with_keyword_arguments_takes_any_option():
    assert build("own_models:Open", {"size": 2}).weights[0].shape == (4, 2)


def test_own_tf_module():
    assert build("own_models:Raw").w.shape == (4, 3)


def test_own_function_returns_a_model():
    model = build("own_models:functional", {"width": 2})
    assert model.output_shape == (None, 3)


def test_registered_class_by_import_path():
    assert isinstance(build("tfapp.models.cnn:CNN", shape=(8, 8, 1)), CNN)


def test_unknown_name_answers_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no model named 'resent'. Did you mean 'resnet'\?"):
        build("resent")


def test_missing_module_says_where_it_was_looked_for(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no module named 'own_modles'; it was looked for in"):
        build("own_modles:Mine")


def test_missing_class_answers_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no object in own_models named 'Mien'.*'Mine'"):
        build("own_models:Mien")


def test_unknown_options_are_all_named_with_the_nearest():
    assert refusal("mlp", {"hiden": [3], "droput": 0.1}) == (
        "model 'mlp' has no option 'hiden'. Did you mean 'hidden'? It has no option 'droput'."
        " Did you mean 'dropout'? It takes: activation, dropout, dtype, hidden, name, outputs."
    )


def test_unknown_option_of_a_class_that_takes_none():
    assert refusal("own_models:Fixed", {"width": 3}) == (
        "model 'own_models:Fixed' has no option 'width'. It takes: no options."
    )


def test_missing_option_is_named_with_the_way_to_give_it():
    assert refusal("own_models:Needy") == (
        "model 'own_models:Needy' needs a value for 'tables': give it with"
        " --set model.options.tables=... It takes: tables."
    )


def test_wrong_value_is_told_in_one_sentence():
    assert refusal("mlp", {"hidden": 3}) == (
        "model 'mlp' cannot be made with outputs=3, hidden=3: `hidden` must be a list of whole"
        " numbers above 0, e.g. [64, 32], found 3"
    )


def test_wrong_value_of_an_own_class_keeps_the_reason():
    assert "width='wide'" in refusal("own_models:Mine", {"width": "wide"})


def test_wrong_examples_keep_the_words_of_the_model():
    assert refusal("cnn").startswith("model 'cnn' needs images [height, width, channels]")


def test_call_that_raises_is_told_by_its_first_line():
    assert refusal("own_models:Crash") == (
        "model 'own_models:Crash' does not take examples of shape [4]; called on zeros [2, 4]"
        " with training=False it raised RuntimeError: the fuse is out"
    )


def test_output_that_is_no_batch_of_rows_is_refused():
    assert refusal("own_models:Flat") == (
        "model 'own_models:Flat' gives [2] for a batch of 2; it must give [batch, outputs],"
        " here [2, n]."
    )


def test_several_outputs_are_refused():
    assert "gives an object of type tuple" in refusal("own_models:Pair")


def test_model_without_trainable_variables_is_refused():
    assert "no trainable variables" in refusal("own_models:Frozen")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("keras.layers:Dense", "the class Dense"),
        ("math:pi", "an object of type float"),
        ("own_models:finished", "an object of type Sequential"),
    ],
)
def test_what_is_no_model_class_is_refused(name: str, what: str):
    assert refusal(name) == (
        f"{name!r} names {what}; it must name a subclass of keras.Model or tf.Module, a"
        " HyperModel of KerasTuner, or a function that returns a model."
    )


def test_function_that_returns_no_model_is_refused():
    assert refusal("own_models:number") == (
        "'own_models:number' returned an object of type int; it must return a keras.Model or a"
        " tf.Module."
    )
