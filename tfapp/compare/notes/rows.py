"""The inventory: every program of the course notes, as a plain table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tfapp.errors import UsageError
from tfapp.names import missing_extra

if TYPE_CHECKING:
    from tfapp.compare.notes.checks import Record

    Run = Callable[[Record], None]

Framework = Literal["TF1", "TF2", "Keras", "PyTorch", "NumPy", "prose"]

DEMONSTRATION = "Ng course notes, framework demonstration"
RAW = "MNIST with raw variables"
LECTURE = "CS231n lecture 8, frameworks"
COURSE = "Ng course 3.10/3.11"
PROSE = "why frameworks"

NOTHING = "nothing"
_MODULES = {"torch": "torch", "legacy": "tf_keras"}  # what an extra of tfapp brings


@dataclass(frozen=True)
class NoteRow:
    """One program of the notes.

    Attributes:
        number: From 1 up.
        source: The notes and the place in them.
        title: What the program does.
        framework: What it is written for.
        printed: What the notes show of its output: numbers, a picture, or nothing.
        function: `module:function` of what reproduces it, which takes a `Record`; `None` if
            nothing can be run, and then `remark` says why.
        remark: What has to be known about the row, in a sentence.
        needs: The extra of tfapp without which it cannot run.
    """

    number: int
    source: str
    title: str
    framework: Framework
    printed: str
    function: str | None
    remark: str = ""
    needs: str | None = None

    @property
    def missing(self) -> str | None:
        """How to install what is missing; `None` if nothing is."""
        return missing_extra(None if self.needs is None else _MODULES[self.needs], self.needs)

    def load(self) -> Run:
        """Imports the function, and with it the framework."""
        assert self.function is not None, "a row without a program is not run"
        module, _, name = self.function.partition(":")
        run: Any = getattr(importlib.import_module(module), name)
        return run


def find_rows(numbers: Iterable[int] = ()) -> list[NoteRow]:
    """Returns rows by number, each once and in the order asked for; all when none is given.

    Raises:
        UsageError: A number is not in the inventory.
    """
    wanted = list(dict.fromkeys(numbers)) or list(ROWS)
    for number in wanted:
        if number not in ROWS:
            allowed = f"{min(ROWS)} to {max(ROWS)}"
            raise UsageError(f"row of the notes: found {number}, allowed {allowed}")
    return [ROWS[number] for number in wanted]


_SEEDED = (
    "The notes draw the weights from TensorFlow's graph seed, whose numbers depend on the order of"
    " operations; here NumPy draws them, and the relations must hold."
)
_SAME_NETWORK = "mse, Adam at 1e-4, 500 steps"


def _in(framework: str, function: str) -> str:
    return f"tfapp.compare.notes.{framework}_programs:{function}"


_ROWS = (
    NoteRow(
        1,
        f"{DEMONSTRATION}, 1.1",
        "w^2 - 10 w + 25, gradient descent, 1,000 steps in a session",
        "TF1",
        "a picture: w from 0 to near 5",
        _in("tf1", "quadratic"),
        "The fragment before the whole program lacks a `*` and is no Python.",
    ),
    NoteRow(
        2,
        f"{DEMONSTRATION}, 1.2",
        "w^2 - 10 w + 25, tape and Keras SGD, 200 steps",
        "TF2",
        "a picture",
        _in("tf2", "quadratic"),
        "With 200 steps instead of row 1's 1,000, w ends at 4.912.",
    ),
    NoteRow(
        3,
        f"{DEMONSTRATION}, 2",
        "NeuralNetwork, 128 x 128 x 3 to 1 in seven layers, a Module",
        "PyTorch",
        NOTHING,
        _in("torch", "neural_network"),
        "`init` is used and not imported.",
        needs="torch",
    ),
    NoteRow(
        4,
        f"{DEMONSTRATION}, 2",
        "NeuralNetwork, the same as a subclass of keras.Model",
        "Keras",
        NOTHING,
        _in("keras", "neural_network"),
        "As printed it cannot be constructed: Keras keeps the name `output` for itself.",
    ),
    NoteRow(
        5,
        f"{DEMONSTRATION}, 2",
        "an initializer assigned to a layer after construction",
        "Keras",
        NOTHING,
        _in("keras", "initializer"),
        "It counts only until the layer is built, and what is assigned is Keras's default.",
    ),
    NoteRow(
        6,
        RAW,
        "784-256-128-10 with six variables and assign_sub, batches of 200, 20 epochs",
        "TF2",
        "a picture: the loss of each epoch",
        _in("tf2", "raw_network"),
        "No MNIST is shipped and the notes set no seed: 2,000 rows of noise, weights from NumPy.",
    ),
    NoteRow(
        7,
        f"{LECTURE}, the graph by hand",
        "sum(x y + z) and its gradients, forward and back",
        "NumPy",
        "a picture",
        _in("numpy", "graph"),
    ),
    NoteRow(
        8,
        f"{LECTURE}, three placeholders",
        "sum(x y + z) with tf.gradients",
        "TF1",
        NOTHING,
        _in("tf1", "graph"),
        "What is fed is float64 and silently becomes float32.",
    ),
    NoteRow(
        9,
        f"{LECTURE}, autograd",
        "sum(x y + z) with backward",
        "PyTorch",
        NOTHING,
        _in("torch", "graph"),
        "Only x asks for its gradient; those of y and z stay None.",
        needs="torch",
    ),
    NoteRow(
        10,
        f"{LECTURE}, weights as placeholders",
        "1000-100-1000, one run",
        "TF1",
        NOTHING,
        _in("tf1", "fed_once"),
    ),
    NoteRow(
        11,
        f"{LECTURE}, weights as placeholders",
        "1000-100-1000, 50 updates in NumPy, weights fed again each time",
        "TF1",
        NOTHING,
        _in("tf1", "fed"),
    ),
    NoteRow(
        12,
        f"{LECTURE}, weights as variables",
        "1000-100-1000, pitfall: assignments that no fetch needs",
        "TF1",
        "the loss does not fall",
        _in("tf1", "unfetched"),
        _SEEDED,
    ),
    NoteRow(
        13,
        f"{LECTURE}, tf.group",
        "1000-100-1000, first repair: a group of the assignments is fetched",
        "TF1",
        NOTHING,
        _in("tf1", "group"),
        f"{_SEEDED} With reference variables the group is a race.",
    ),
    NoteRow(
        14,
        f"{LECTURE}, GradientDescentOptimizer",
        "1000-100-1000, second repair: minimize",
        "TF1",
        NOTHING,
        _in("tf1", "minimize"),
        _SEEDED,
    ),
    NoteRow(
        15,
        f"{LECTURE}, tf.layers.dense",
        "two dense layers and tf.losses.mean_squared_error",
        "TF1",
        NOTHING,
        _in("tf1", "dense_layers"),
        "The loss is a thousandth of row 14's, so at its 1e-5 nothing is learned.",
        needs="legacy",
    ),
    NoteRow(
        16,
        f"{LECTURE}, Keras",
        "Sequential, SGD, mean squared error, 50 epochs of one batch",
        "Keras",
        NOTHING,
        _in("keras", "sequential"),
        "The notes set no seed, so the loss and its fall have a size and no digits.",
    ),
    NoteRow(
        17,
        f"{LECTURE}, autograd",
        "1000-100-10 without biases, sum of squares, 500 steps at 1e-6",
        "PyTorch",
        NOTHING,
        _in("torch", "autograd"),
        needs="torch",
    ),
    NoteRow(
        18,
        f"{LECTURE}, nn",
        f"1000-100-10 as nn.Sequential, {_SAME_NETWORK}",
        "PyTorch",
        NOTHING,
        _in("torch", "sequential"),
        "As printed `torch.nn.ReLu` does not exist.",
        needs="torch",
    ),
    NoteRow(
        19,
        f"{LECTURE}, nn, own modules",
        f"1000-100-10 as a Module, {_SAME_NETWORK}",
        "PyTorch",
        NOTHING,
        _in("torch", "module"),
        needs="torch",
    ),
    NoteRow(
        20,
        f"{LECTURE}, nn, own modules",
        f"two ParallelBlocks and a Linear, {_SAME_NETWORK}",
        "PyTorch",
        NOTHING,
        _in("torch", "parallel_blocks"),
        needs="torch",
    ),
    NoteRow(
        21,
        f"{LECTURE}, DataLoader",
        "1000-100-10, batches of 8 without shuffle, Adam at 1e-2, 20 epochs",
        "PyTorch",
        NOTHING,
        _in("torch", "data_loader"),
        needs="torch",
    ),
    NoteRow(
        22,
        f"{LECTURE}, static and dynamic graphs",
        "conditions and loops inside a graph, and gradients through them",
        "TF1",
        NOTHING,
        _in("tf1", "control_flow"),
        "`tf.fold1` is `tf.foldl`, with the letter l.",
    ),
    NoteRow(
        23,
        PROSE,
        "steps by hand against steps of a framework",
        "prose",
        NOTHING,
        None,
        "A table of words without a program; rows 7 and 8 are such a pair that runs.",
    ),
    NoteRow(
        24,
        f"{COURSE}, In[2]",
        "w^2 - 10 w + 25 with tf.add and tf.multiply, before training",
        "TF1",
        "0.0",
        _in("tf1", "before_training"),
    ),
    NoteRow(
        25,
        f"{COURSE}, In[3]",
        "w^2 - 10 w + 25, one step",
        "TF1",
        "0.1",
        _in("tf1", "one_step"),
    ),
    NoteRow(
        26,
        f"{COURSE}, In[4]",
        "w^2 - 10 w + 25, 1,000 steps more",
        "TF1",
        "4.99999",
        _in("tf1", "further_steps"),
        "As printed, the print is inside the loop and writes 1,000 lines.",
    ),
    NoteRow(
        27,
        f"{COURSE}, overloaded operators",
        "w^2 - 10 w + 25 written with + and *",
        "TF1",
        "0.0, 0.1, 4.99999",
        _in("tf1", "operators"),
    ),
    NoteRow(
        28,
        f"{COURSE}, In[11]-In[13]",
        "c0 w^2 + c1 w + c2, coefficients 1, -10, 25 fed at every step",
        "TF1",
        "0.0, 0.1, 4.99999",
        _in("tf1", "coefficients"),
        "The prose has + 10 w, which leads to -5.",
    ),
    NoteRow(
        29,
        f"{COURSE}, In[14]-In[16]",
        "c0 w^2 + c1 w + c2, coefficients 1, -20, 100",
        "TF1",
        "0.0, 0.2, 9.99998",
        _in("tf1", "moved_coefficients"),
    ),
    NoteRow(
        30,
        f"{COURSE}, slide",
        "c0 w^2 + c1 w + c2, coefficients 1, -20, 25 and w of shape [1]",
        "TF1",
        NOTHING,
        _in("tf1", "slide"),
        "The slide calls it (w - 5)^2; its minimum is at 10.",
    ),
    NoteRow(
        31,
        f"{COURSE}, with tf.Session()",
        "w^2 - 10 w + 25, the session as a context",
        "TF1",
        "0.0, 0.1, 4.99999",
        _in("tf1", "with_session"),
        "`tf.Sessions()` and `tf.global variables initializer` are misspelled.",
    ),
    NoteRow(
        32,
        f"{COURSE}, prose",
        "w^2 - 10 w + 25, one line changed: Adam instead of gradient descent",
        "TF1",
        NOTHING,
        _in("tf1", "adam"),
        "Adam's first step is its rate, 0.01, where gradient descent's is 0.1.",
    ),
)

ROWS: Mapping[int, NoteRow] = {row.number: row for row in _ROWS}
