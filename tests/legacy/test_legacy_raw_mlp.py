from __future__ import annotations

import numpy as np
import pytest

from legacy_tf1 import by_hand, raw_mlp
from legacy_tf1.training import train


@pytest.fixture(scope="module")
def small():
    random = np.random.default_rng(0)
    images = random.uniform(size=(10, 2, 3)).astype(np.float32)
    return images, np.arange(10) % 4, raw_mlp.draw_weights(1, (6, 5, 4, 4))


def test_every_step_is_that_of_numpy_over_batches_in_order(small):
    images, labels, weights = small
    rows = [slice(0, 4), slice(4, 8), slice(8, 10)]

    def batch(step):
        part = rows[step % 3]
        return images[part].reshape(-1, 6), np.eye(4)[labels[part]]

    exact = by_hand.train(batch, weights, 0.1, 7, mean_over="entries")
    for step, expected in zip(train(raw_mlp.build(*small, 4, 0.1), 7), exact, strict=True):
        assert float(step.loss) == pytest.approx(expected.loss, rel=1e-5)
        for name in raw_mlp.WEIGHTS:
            np.testing.assert_allclose(
                step.weights[name], expected.weights[name], rtol=1e-5, atol=1e-6
            )


def test_the_last_layer_is_linear_as_in_the_code_and_not_as_in_the_formula(small):
    images, labels, weights = small
    negative = {**weights, "b3": np.full(4, -5.0, np.float32)}
    (step,) = train(raw_mlp.build(images, labels, negative, 10), 1)
    assert step.loss > 20  # (1 + 5)^2 and 5^2; a ReLU would leave 1 and 0


def test_the_loss_is_the_mean_over_all_entries(small):
    images, labels, weights = small
    zero = {name: np.zeros_like(weight) for name, weight in weights.items()}
    (step,) = train(raw_mlp.build(images, labels, zero, 10), 1)
    assert float(step.loss) == pytest.approx(1 / 4)  # one of four entries is off by 1


def test_weights_are_cut_off_at_two_deviations():
    weights = raw_mlp.draw_weights()
    assert [w.shape for w in weights.values()] == [
        (784, 256), (256,), (256, 128), (128,), (128, 10), (10,)
    ]  # fmt: skip
    assert np.abs(weights["w1"]).max() <= 0.2
    # Deviation of a standard normal cut off at 2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)) = 0.8796.
    assert weights["w1"].std() == pytest.approx(0.08796, rel=0.01)
    assert not any(weights[f"b{number}"].any() for number in (1, 2, 3))


def test_drawing_again_gives_the_same():
    for first, second in zip(
        raw_mlp.draw_weights(3).values(), raw_mlp.draw_weights(3).values(), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_the_program_trains_on_noise(outcome_of):
    losses = outcome_of("raw-mlp").values["loss"]
    assert len(losses) == 300
    assert losses[-1] < losses[0] / 3


def test_a_batch_larger_than_the_data_is_refused(small):
    with pytest.raises(ValueError, match="batch_size: found 11, allowed 1 to 10"):
        raw_mlp.build(*small, batch_size=11)
