"""The three forms in which TF1 programs left their models on disk, written and read back.

- A checkpoint: every variable by its name, in the form `Saver` writes since TF 1.0 (V2), with the
  graph beside it in a `.meta` file.
- A frozen graph: one `GraphDef` in which every variable has become a constant.
- A SavedModel: graph, variables, and signatures that name inputs and outputs.

Source: the programs owners of TF1 code have; the notes save nothing. What is read back is compared
with the session that wrote it, bit by bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1 import raw_mlp
from legacy_tf1.checks import Record
from legacy_tf1.program import Outcome
from legacy_tf1.training import Array, open_session, read_weights

v1 = tf.compat.v1

SIGNATURE = "serving_default"


def write_checkpoint(session: Any, prefix: Path) -> None:
    """Writes all variables of a session's graph, and the graph.

    Args:
        session: Its variables have values. The saver's operations are added to its graph.
        prefix: The files are `<prefix>.index`, `<prefix>.data-...` and `<prefix>.meta`, beside
            a file `checkpoint` with the name of the newest.
    """
    with session.graph.as_default():
        v1.train.Saver(write_version=v1.train.SaverDef.V2).save(session, str(prefix))


def read_checkpoint(prefix: Path) -> dict[str, Array]:
    """Returns every variable of a checkpoint by its name, without its graph."""
    reader = tf.train.load_checkpoint(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def run_checkpoint(prefix: Path, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
    """Rebuilds the graph from the `.meta` file, restores the variables and computes.

    Args:
        prefix: As it was written.
        feeds: By the names of placeholders.
        outputs: Names of operations.

    Returns:
        The first output of every named operation.
    """
    graph = tf.Graph()
    with graph.as_default(), closing(open_session(graph)) as session:
        saver = v1.train.import_meta_graph(f"{prefix}.meta")
        saver.restore(session, str(prefix))
        return _run(session, feeds, outputs)


def write_frozen_graph(session: Any, path: Path, outputs: Sequence[str]) -> None:
    """Writes what computes the outputs, with the variables' values as constants.

    Args:
        session: Its variables have values.
        path: Of the new file, usually `.pb`.
        outputs: Names of operations; what they do not need is left out.
    """
    graph_def = session.graph.as_graph_def()
    frozen = v1.graph_util.convert_variables_to_constants(session, graph_def, list(outputs))
    path.write_bytes(frozen.SerializeToString())


def run_frozen_graph(path: Path, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
    """Computes with a frozen graph; arguments and result are those of `run_checkpoint`."""
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(v1.GraphDef.FromString(path.read_bytes()), name="")
    with closing(open_session(graph)) as session:
        return _run(session, feeds, outputs)


def write_saved_model(
    session: Any, folder: Path, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> None:
    """Writes a SavedModel with one signature, `serving_default`.

    Args:
        session: Its variables have values. The saver's operations are added to its graph.
        folder: Must not be there, or be empty.
        inputs: Names of placeholders, by the names in the signature.
        outputs: Names of operations, by the names in the signature.

    Raises:
        AssertionError: From TensorFlow, if the folder holds something.
    """
    graph = session.graph
    with graph.as_default():
        signature = v1.saved_model.predict_signature_def(
            {key: graph.get_tensor_by_name(f"{name}:0") for key, name in inputs.items()},
            {key: graph.get_tensor_by_name(f"{name}:0") for key, name in outputs.items()},
        )
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            [v1.saved_model.tag_constants.SERVING],
            signature_def_map={SIGNATURE: signature},
        )
        builder.save()


def run_saved_model(folder: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Computes with the `serving_default` signature of a SavedModel in a session.

    Args:
        folder: The SavedModel.
        feeds: By the signature's names of inputs.

    Returns:
        Every output of the signature, by name.
    """
    graph = tf.Graph()
    with graph.as_default(), closing(open_session(graph)) as session:
        tags = [v1.saved_model.tag_constants.SERVING]
        signature = v1.saved_model.load(session, tags, str(folder)).signature_def[SIGNATURE]
        fed = {signature.inputs[name].name: array for name, array in feeds.items()}
        wanted = {name: info.name for name, info in signature.outputs.items()}
        found: dict[str, Array] = session.run(wanted, feed_dict=fed)
    return found


def run(steps: int) -> Outcome:
    """Trains a small network, writes all three forms and reads them back.

    Args:
        steps: Of training, before it is written.
    """
    record = Record()
    images = np.random.default_rng(0).uniform(size=(12, 8)).astype(np.float32)
    labels = np.arange(12, dtype=np.int32) % 3
    training = raw_mlp.build(images, labels, raw_mlp.draw_weights(0, (8, 6, 5, 3)), 12, 0.1)
    feeds = {"images": images}
    with tempfile.TemporaryDirectory() as name, closing(open_session(training.graph)) as session:
        session.run(training.initialize)
        for step in range(steps):
            session.run(training.update, feed_dict=training.feeds(step))
        (expected,) = _run(session, feeds, ["out"])
        folder = Path(name)
        write_checkpoint(session, folder / "model.ckpt")
        write_frozen_graph(session, folder / "frozen.pb", ["out"])
        write_saved_model(session, folder / "saved", {"x": "images"}, {"scores": "out"})
        _compare(record, folder, feeds, expected, read_weights(session, training))
    return record.outcome(first_row=expected[0])


def _compare(
    record: Record,
    folder: Path,
    feeds: Mapping[str, Array],
    expected: Array,
    weights: Mapping[str, Array],
) -> None:
    stored = read_checkpoint(folder / "model.ckpt")
    names = ", ".join(sorted(stored))
    record.relation(
        "names in the checkpoint",
        ", ".join(sorted(weights)),
        names,
        sorted(stored) == sorted(weights),
    )
    for name, weight in weights.items():
        record.equal(f"{name} in the checkpoint", weight, stored.get(name))
    (found,) = run_checkpoint(folder / "model.ckpt", feeds, ["out"])
    record.equal("output of the restored graph", expected, found)
    (found,) = run_frozen_graph(folder / "frozen.pb", feeds, ["out"])
    record.equal("output of the frozen graph", expected, found)
    found = run_saved_model(folder / "saved", {"x": feeds["images"]})["scores"]
    record.equal("output of the SavedModel", expected, found)


def _run(session: Any, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
    fed = {f"{name}:0": array for name, array in feeds.items()}
    found: list[Array] = session.run([f"{name}:0" for name in outputs], feed_dict=fed)
    return found
