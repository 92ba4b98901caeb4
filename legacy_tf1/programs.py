"""Every program by its name. Reading the table imports no TensorFlow; running a program does."""

from __future__ import annotations

from collections.abc import Mapping

from legacy_tf1.program import Program

DEMONSTRATION = "Ng course notes, framework demonstration"
RAW = "MNIST with raw variables"
LECTURE = "CS231n lecture 8, frameworks"
COURSE = "Ng course 3.10/3.11"

_PROGRAMS = (
    Program(
        "quadratic",
        f"{DEMONSTRATION}, 1.1",
        "1,000 steps of gradient descent on w^2 - 10 w + 25, and where float32 stops them",
        1000,
        "legacy_tf1.quadratic:run_picture",
    ),
    Program(
        "quadratic-functional",
        f"{COURSE}, In[2]-In[4]",
        "the cost written with tf.add and tf.multiply; one step, then 1,000 more",
        1001,
        "legacy_tf1.quadratic:run_functional",
    ),
    Program(
        "quadratic-operators",
        f"{COURSE}, overloaded operators",
        "the cost written with + and *: the same numbers, bit by bit",
        1001,
        "legacy_tf1.quadratic:run_operators",
    ),
    Program(
        "quadratic-with",
        f"{COURSE}, with tf.Session()",
        "a session as a context that closes itself: the same numbers",
        1001,
        "legacy_tf1.quadratic:run_with",
    ),
    Program(
        "coefficients",
        f"{COURSE}, In[11]-In[13]",
        "coefficients 1, -10, 25 fed into a placeholder [3, 1] at every step",
        1001,
        "legacy_tf1.coefficients:run_fed",
    ),
    Program(
        "coefficients-moved",
        f"{COURSE}, In[14]-In[16]",
        "coefficients 1, -20, 100: another minimum from the same graph",
        1001,
        "legacy_tf1.coefficients:run_moved",
    ),
    Program(
        "coefficients-slide",
        f"{COURSE}, slide",
        "coefficients 1, -20, 25 and w of shape [1]: the minimum is at 10, not at the slide's 5",
        1000,
        "legacy_tf1.coefficients:run_slide",
    ),
    Program(
        "coefficients-wrong-sign",
        f"{COURSE}, prose",
        "pitfall: w^2 + 10 w + 25, as one sentence has it, leads to -5",
        1000,
        "legacy_tf1.coefficients:run_wrong_sign",
    ),
    Program(
        "computation-graph",
        f"{LECTURE}, three placeholders",
        "tf.gradients of sum(x y + z) are y, x and ones; float64 feeds become float32 silently",
        1,
        "legacy_tf1.computation_graph:run",
    ),
    Program(
        "two-layer-fed",
        f"{LECTURE}, weights as placeholders",
        "weights that live in NumPy and go in and out of the session at every step",
        50,
        "legacy_tf1.two_layer:run_fed",
    ),
    Program(
        "two-layer-unfetched",
        f"{LECTURE}, weights as variables",
        "pitfall: an assignment that no fetch needs never runs; 50 equal losses",
        50,
        "legacy_tf1.two_layer:run_unfetched",
    ),
    Program(
        "two-layer-group",
        f"{LECTURE}, tf.group",
        "fetching a group of the assignments runs them",
        50,
        "legacy_tf1.two_layer:run_group",
    ),
    Program(
        "two-layer-minimize",
        f"{LECTURE}, GradientDescentOptimizer",
        "minimize is the group of assignments, bit by bit",
        50,
        "legacy_tf1.two_layer:run_minimize",
    ),
    Program(
        "two-layer-race",
        f"{LECTURE}, tf.group on reference variables",
        "pitfall: with TF1's reference variables the group is a race; steps are repetitions",
        20,
        "legacy_tf1.race:run",
    ),
    Program(
        "dense-layers",
        f"{LECTURE}, tf.layers.dense",
        "two dense layers; at the lecture's learning rate practically nothing is learned",
        50,
        "legacy_tf1.layers:run_dense",
    ),
    Program(
        "mean-squared-error",
        f"{LECTURE}, tf.losses.mean_squared_error",
        "pitfall: the loss that takes the sum's place is D = 1000 times less, and so are gradients",
        50,
        "legacy_tf1.layers:run_mean",
    ),
    Program(
        "raw-mlp",
        RAW,
        "784-256-128-10 with six variables and batches of 200, on rows of noise",
        300,
        "legacy_tf1.raw_mlp:run",
    ),
    Program(
        "control-flow",
        f"{LECTURE}, static and dynamic graphs",
        "cond, while_loop and foldl with gradients; steps are turns of the loop",
        10,
        "legacy_tf1.control_flow:run",
    ),
    Program(
        "batch-norm",
        "tf.layers.batch_normalization",
        "moving averages with UPDATE_OPS; the fused kernel averages the unbiased variance",
        5,
        "legacy_tf1.batch_norm:run_updated",
    ),
    Program(
        "batch-norm-forgotten",
        "tf.layers.batch_normalization",
        "pitfall: without UPDATE_OPS the moving mean stays 0 and the moving variance 1",
        5,
        "legacy_tf1.batch_norm:run_forgotten",
    ),
    Program(
        "checkpoints",
        "tf.train.Saver, freeze_graph, SavedModel",
        "checkpoint, frozen graph and SavedModel, written and read back to the same bits",
        5,
        "legacy_tf1.checkpoints:run",
    ),
)

PROGRAMS: Mapping[str, Program] = {program.name: program for program in _PROGRAMS}
