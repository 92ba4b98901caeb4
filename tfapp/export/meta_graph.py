"""What `tf.saved_model.save` cannot say of a SavedModel, written into it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model.fingerprinting_utils import write_fingerprint


def amend(folder: Path, methods: Mapping[str, str], *, tags: tuple[str, ...] = ()) -> None:
    """Names the methods of signatures, and adds a copy of the graph under other tags.

    The fingerprint is of what stands there then.

    Args:
        folder: A SavedModel with one graph.
        methods: By signature; TensorFlow calls every one of them Predict.
        tags: Of the copy, which shares the variables; without any, no copy is made.
    """
    file = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (graph,) = saved.meta_graphs
    for name, method in methods.items():
        graph.signature_def[name].method_name = method
    if tags:
        copy = saved.meta_graphs.add()
        copy.CopyFrom(graph)
        copy.meta_info_def.tags[:] = tags
    file.write_bytes(saved.SerializeToString(deterministic=True))
    write_fingerprint(str(folder))
