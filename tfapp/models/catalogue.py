"""What each registered model is for, as plain text, so that listing needs no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# logits: before softmax or sigmoid, or plain numbers of a regression; objective: what is minimized.
OutputKind = Literal["logits", "probabilities", "objective"]
Inputs = Literal["any shape", "images [height, width, channels]", "coefficients [3]"]

ANY: Inputs = "any shape"
IMAGES: Inputs = "images [height, width, channels]"
COEFFICIENTS: Inputs = "coefficients [3]"


@dataclass(frozen=True)
class ModelSummary:
    """One line of `tfapp models list`.

    Attributes:
        name: What `--model` takes.
        description: The first line of the class's docstring.
        inputs: What one example may be.
        output_kind: What the last layer gives.
    """

    name: str
    description: str
    inputs: Inputs
    output_kind: OutputKind


_MODELS = (
    ModelSummary(
        "cnn", "A small convolutional network with batch normalization.", IMAGES, "logits"
    ),
    ModelSummary(
        "course",
        "The course's NeuralNetwork: six relu layers and a sigmoid unit.",
        ANY,
        "probabilities",
    ),
    ModelSummary("mlp", "A multilayer perceptron: dense layers with dropout.", ANY, "logits"),
    ModelSummary(
        "parallel_block",
        "Two linear maps multiplied, then rectified, block after block.",
        ANY,
        "logits",
    ),
    ModelSummary(
        "quadratic",
        "The course's cost c0 w^2 + c1 w + c2 of one weight w.",
        COEFFICIENTS,
        "objective",
    ),
    ModelSummary(
        "raw_mlp",
        "A multilayer perceptron whose weights and biases are made by hand.",
        ANY,
        "logits",
    ),
    ModelSummary("resnet", "A residual network for small images.", IMAGES, "logits"),
    ModelSummary("two_layer", "One hidden layer, two weight matrices, no biases.", ANY, "logits"),
)


def list_models() -> list[ModelSummary]:
    """Returns every registered model, sorted by name, without importing TensorFlow."""
    return list(_MODELS)
