"""What is trained: small networks with everything about them that decides the work.

Shapes: B is the batch size, N the number of examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Architecture = Literal["mlp", "two_layer", "cnn", "quadratic"]
LossName = Literal["squared_error", "cross_entropy", "output"]

# Epsilon is so small that it makes no difference where a framework adds it: PyTorch does so after
# the correction of the bias, the others before.
ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-12}
# Of Keras; the other frameworks are told.
NORM_EPSILON = 1e-3
NORM_MOMENTUM = 0.9


@dataclass(frozen=True)
class Workload:
    """A network, its data, and how it is trained.

    Attributes:
        name: What it is asked for by.
        architecture: The model of that name in tfapp's registry, and its equal elsewhere.
        examples: N, a multiple of B, so that all batches are whole.
        batch_size: B.
        feature_shape: Shape of one example.
        hidden: Widths of the dense hidden layers; of `cnn` the channels of the convolutions and
            the width of the dense layer.
        loss: `squared_error` against one-hot rows, `cross_entropy` from logits, or the model's
            `output` itself.
        optimizer: Plain gradient descent or Adam.
        learning_rate: Constant.
        classes: Width of the last layer.
    """

    name: str
    architecture: Architecture
    examples: int
    batch_size: int
    feature_shape: tuple[int, ...]
    hidden: tuple[int, ...]
    loss: LossName
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    classes: int = 10

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass over the examples."""
        return self.examples // self.batch_size

    @property
    def is_dense(self) -> bool:
        """Whether the network is matrix products with something cheap between them."""
        return self.architecture in ("mlp", "two_layer")

    @property
    def has_biases(self) -> bool:
        """Whether the dense layers have biases."""
        return self.architecture != "two_layer"

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of a dense network, from the features to the classes."""
        return (*self.feature_shape, *self.hidden, self.classes)

    @property
    def about(self) -> str:
        """Sizes, loss and optimizer on one line."""
        if self.architecture == "quadratic":
            return "w^2 - 10 w + 25, gradient descent"
        sizes = "x".join(map(str, self.feature_shape))
        widths = "-".join(map(str, (sizes, *self.hidden, self.classes)))
        loss = self.loss.replace("_", " ")
        optimizer = {"sgd": "gradient descent", "adam": "Adam"}[self.optimizer]
        return f"{widths}, batch {self.batch_size}, {loss}, {optimizer}"

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` needs."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Workload:
        """Returns the equal of the workload whose `to_json` this is."""
        shapes = {key: tuple(content[key]) for key in ("feature_shape", "hidden")}
        return cls(**{**content, **shapes})


WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            name="mlp-sgd",
            architecture="mlp",
            examples=12_000,
            batch_size=200,
            feature_shape=(784,),
            hidden=(256, 128),
            loss="squared_error",
            optimizer="sgd",
            learning_rate=0.02,
        ),
        Workload(
            name="mlp-adam",
            architecture="mlp",
            examples=12_000,
            batch_size=200,
            feature_shape=(784,),
            hidden=(256, 128),
            loss="cross_entropy",
            optimizer="adam",
            learning_rate=1e-3,
        ),
        Workload(
            name="two-layer",
            architecture="two_layer",
            examples=6_400,
            batch_size=64,
            feature_shape=(1000,),
            hidden=(100,),
            loss="squared_error",
            optimizer="sgd",
            learning_rate=0.02,
        ),
        Workload(
            name="cnn",
            architecture="cnn",
            examples=2_560,
            batch_size=128,
            feature_shape=(28, 28, 1),
            hidden=(32, 64, 128),
            loss="cross_entropy",
            optimizer="adam",
            learning_rate=1e-3,
        ),
        Workload(
            name="quadratic",
            architecture="quadratic",
            examples=256,
            batch_size=1,
            feature_shape=(3,),
            hidden=(),
            loss="output",
            optimizer="sgd",
            learning_rate=0.01,
            classes=1,
        ),
    )
}
