"""One version of a model in memory: its signatures, and a call of them with arrays.

The model runs in a session of TensorFlow 1, as in TensorFlow Serving. `tf.saved_model.load` refuses
some models that a session takes, and its calls take several times as long.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

from tfapp.errors import reason_of
from tfapp.serving.calls import AtOnce, Call, Runner, serving_error
from tfapp.serving.fragile import Fragility, Shape, Texts, fragility, say_rows
from tfapp.serving.observing import RequestRecord
from tfapp.serving.status import Code, ServingError
from tfapp.serving.variables import fill_variables

v1 = tf.compat.v1

# Without its decorator, which warns that it is deprecated for programs of TensorFlow 2.
_load = getattr(v1.saved_model.load, "__wrapped__", v1.saved_model.load)

_CALLS_KEPT = 128  # so that clients who vary `output_filter` do not fill the memory

_PARTS = (
    "An input or output of this signature is a sparse or ragged tensor, which consists of several"
    " and has no name in the graph. Write a signature that takes and gives its parts."
)


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature.

    Attributes:
        alias: Its name in requests.
        name: Its name in the graph, e.g. `x:0`; empty for a sparse or ragged one.
        dtype: Type of its elements.
        shape: Its dimensions, None for one that may vary; None if not even their number is known.
    """

    alias: str
    name: str
    dtype: Any
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, eq=False)
class Signature:
    """A function of a model.

    Attributes:
        name: What requests call it by.
        inputs: Its inputs by alias, in order of their aliases.
        outputs: Its outputs, likewise.
        method_name: What it is for, e.g. `tensorflow/serving/predict`.
        definition: The `SignatureDef` it was read from.
    """

    name: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str
    definition: Any


class Servable:
    """A version of a model that can be called; made by `load_servable`.

    Calls may come from several threads at once. Who closes it sees to it that none is under way.

    Args:
        name: Of the model.
        version: Its number.
        path: Folder of the SavedModel.
        signatures: Its functions by name.
        session: The session that holds its graph and variables.
        fragility: Which shapes of inputs it would end the process by: they are refused.

    Attributes:
        runner: Decides when calls are run, and with what.
        graph: The graph of TensorFlow.
        exact_shapes: Whether inputs of other numbers of dimensions than the signatures say, or of
            smaller ones, are refused.
    """

    def __init__(
        self,
        name: str,
        version: int,
        path: Path,
        signatures: Mapping[str, Signature],
        session: Any,
        *,
        fragility: Fragility = Fragility.NOTHING,
    ) -> None:
        self.name = name
        self.version = version
        self.path = path
        self.signatures = signatures
        self.runner: Runner = AtOnce()
        self.graph = session.graph
        self._session = session
        self.exact_shapes = fragility is not Fragility.NOTHING
        self._fragility = fragility
        self._mixable: frozenset[str] = frozenset()
        outputs = {info.name for each in signatures.values() for info in each.outputs.values()}
        self._texts = Texts(session.graph, sorted(outputs))
        self.call = functools.lru_cache(_CALLS_KEPT)(self._make_call)

    def signature_call(self, signature: Signature, outputs: Sequence[str] = ()) -> Call:
        """Returns the call of a signature.

        Args:
            signature: One of `signatures`.
            outputs: Aliases of the outputs to compute; all of them if empty.
        """
        fetches = tuple(signature.outputs[alias].name for alias in outputs or signature.outputs)
        return self.call(signature, fetches)

    def allow_mixing(self, signatures: Collection[str]) -> None:
        """Lets rows of several requests to these signatures be computed together."""
        self._mixable = frozenset(signatures)
        self.call.cache_clear()

    def run(
        self,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Computes outputs of a signature.

        Shapes are not compared with the signature: the graph itself decides what it can take.

        Args:
            signature: One of `signatures`.
            inputs: An array for every input, by alias; strings as object arrays of `bytes`.
            outputs: Aliases of the outputs to compute; all of them if None.

        Returns:
            Arrays by alias; strings as object arrays of `bytes`.

        Raises:
            ServingError: An input is missing or of another type, or the computation failed; with
                the code and text of TensorFlow.
        """
        aliases = tuple(signature.outputs) if outputs is None else tuple(outputs)
        try:
            feeds = [inputs[alias] for alias in signature.inputs]
        except KeyError as error:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Missing input {error} of signature {signature.name}."
            ) from None
        values = self.compute(self.signature_call(signature, aliases), feeds)
        return dict(zip(aliases, values, strict=True))

    def compute(
        self, call: Call, arrays: Sequence[np.ndarray], record: RequestRecord | None = None
    ) -> Sequence[np.ndarray]:
        """Computes the fetches of a call, when and with what the runner decides.

        Args:
            call: A call of this servable.
            arrays: One for each feed.
            record: Is told how many rows there were, how long they waited and ran.

        Raises:
            ServingError: As `run`.
        """
        return self.runner.run(call, arrays, record)

    def close(self) -> None:
        """Frees the memory of the model; it cannot be called any more.

        With oneDNN, TensorFlow keeps what the variables took and gives it to the next model;
        `TF_ENABLE_ONEDNN_OPTS=0` makes it go back to the system.
        """
        self.call.cache_clear()
        self._session.close()
        # Graphs are full of cycles, and glibc keeps what is freed: neither would go back by itself.
        del self._session, self.graph, self.call
        gc.collect()
        _return_free_memory()

    def _make_call(self, signature: Signature, fetches: tuple[str, ...]) -> Call:
        feeds = tuple(info.name for info in signature.inputs.values())
        outputs = {info.name for info in signature.outputs.values()}
        return Call(
            feeds,
            fetches,
            self._texts.callable(fetches, functools.partial(self._make_callable, feeds)),
            declared=outputs == set(fetches),
            mixable=signature.name in self._mixable and outputs.issuperset(fetches),
            shapes=self._shapes(signature),
            exact=self.exact_shapes,
        )

    def _shapes(self, signature: Signature) -> tuple[Shape | None, ...]:
        """Returns what is required of inputs: their shapes, of any number of rows."""
        shapes = tuple(info.shape for info in signature.inputs.values())
        outputs = [info.shape for info in signature.outputs.values()]
        if self._fragility is Fragility.ALL or not say_rows(shapes, outputs):
            return shapes
        return tuple((None, *shape[1:]) for shape in shapes if shape)

    def _make_callable(
        self, feeds: tuple[str, ...], fetches: tuple[str, ...]
    ) -> Callable[..., Sequence[Any]]:
        try:
            make = self._session._make_callable_from_options
        except AttributeError:
            # It is private to TensorFlow. The public way is slower, and refuses arrays whose shape
            # differs from the placeholder's.
            return self._session.make_callable(list(fetches), feed_list=list(feeds))
        options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
        try:
            return make(options)
        except tf.errors.OpError as error:
            if "" in (*feeds, *fetches):
                raise ServingError(Code(error.error_code), f"{error.message}. {_PARTS}") from error
            raise serving_error(error) from error


def load_servable(
    name: str,
    version: int,
    path: Path,
    *,
    tags: Sequence[str] = ("serve",),
    session_config: Any = None,
) -> Servable:
    """Loads a SavedModel: its graph, variables, tables and assets.

    Args:
        name: Of the model.
        version: Its number.
        path: Folder that holds `saved_model.pb` or `saved_model.pbtxt`.
        tags: Exactly the tags of the graph to load.
        session_config: `ConfigProto` of the session; `default_session_config()` if None.

    Returns:
        The model, ready to be called.

    Raises:
        ServingError: `NOT_FOUND` for a missing SavedModel or tags; `DATA_LOSS` for a file that
            cannot be read; else the code and text of TensorFlow.
    """
    _check_saved_model(path, tags)
    session = v1.Session(graph=tf.Graph(), config=session_config or default_session_config())
    try:
        with session.graph.as_default():
            meta_graph = _load(session, list(tags), str(path))
        fill_variables(session, meta_graph)
        signatures = {
            key: _signature(key, meta_graph.signature_def[key])
            for key in sorted(meta_graph.signature_def)
        }
    except tf.errors.OpError as error:
        session.close()
        raise serving_error(error) from error
    except Exception as error:
        # Whatever Python's loader meets in a user's model, the server goes on without it.
        session.close()
        raise ServingError(
            Code.UNKNOWN, f"Cannot load the SavedModel in {path}: {reason_of(error)}."
        ) from error
    found = fragility(meta_graph.graph_def)
    return Servable(name, version, path, signatures, session, fragility=found)


def default_session_config() -> Any:
    """Returns a `ConfigProto` that runs a graph in the caller's thread.

    Handing operations to other threads takes longer than most models take. One large operation
    still uses all cores.
    """
    return v1.ConfigProto(inter_op_parallelism_threads=-1, allow_soft_placement=True)


def _signature(name: str, definition: Any) -> Signature:
    kept = type(definition)()
    kept.CopyFrom(definition)  # else it would keep the whole graph in memory
    return Signature(
        name=name,
        inputs={alias: _tensor_info(alias, kept.inputs[alias]) for alias in sorted(kept.inputs)},
        outputs={alias: _tensor_info(alias, kept.outputs[alias]) for alias in sorted(kept.outputs)},
        method_name=kept.method_name,
        definition=kept,
    )


def _tensor_info(alias: str, info: Any) -> TensorInfo:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
    return TensorInfo(alias, info.name, tf.as_dtype(info.dtype or tf.variant), shape)


def _check_saved_model(path: Path, tags: Sequence[str]) -> None:
    binary = path / "saved_model.pb"
    try:
        content = binary.read_bytes() if _has_saved_model(path, binary) else None
    except OSError as error:
        code = Code.PERMISSION_DENIED if isinstance(error, PermissionError) else Code.UNKNOWN
        raise ServingError(code, f"{binary}; {error.strerror or error}") from error
    if content is None:
        return
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(content)
    except Exception as error:  # DecodeError is not the same class in all versions of protobuf
        raise ServingError(Code.DATA_LOSS, f"Can't parse {binary} as binary proto") from error
    there = [sorted(graph.meta_info_def.tags) for graph in saved_model.meta_graphs]
    if sorted(set(tags)) not in there:
        known = " ".join(f"{{ {' '.join(found)} }}" for found in there) or "none"
        raise ServingError(
            Code.NOT_FOUND,
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To"
            " inspect available tag-sets in the SavedModel, please use the SavedModel CLI:"
            f" `saved_model_cli`. Its tag-sets: {known}.",
        )


def _has_saved_model(path: Path, binary: Path) -> bool:
    """Tells whether it is there in binary form; if not, it is there as text."""
    if binary.exists():
        return True
    if (path / "saved_model.pbtxt").exists():
        return False
    raise ServingError(
        Code.NOT_FOUND,
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}."
        " Check that the directory exists and that you have the right permissions for"
        " accessing it.",
    )


def _return_free_memory() -> None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
