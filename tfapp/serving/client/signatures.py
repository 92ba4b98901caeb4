"""What a served model takes and gives, as its metadata tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# NumPy's names for TensorFlow's types. bfloat16 and others that NumPy lacks are left out.
_TYPES = {
    "DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16", "DT_BOOL": "bool",
    "DT_INT8": "int8", "DT_INT16": "int16", "DT_INT32": "int32", "DT_INT64": "int64",
    "DT_UINT8": "uint8", "DT_UINT16": "uint16", "DT_UINT32": "uint32", "DT_UINT64": "uint64",
    "DT_COMPLEX64": "complex64", "DT_COMPLEX128": "complex128", "DT_STRING": "string",
}  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """One input or output.

    Attributes:
        dtype: NumPy's name of its type; `string`; or TensorFlow's name of one that NumPy lacks.
        shape: Its dimensions, `None` for one of any size; `None` as a whole for any rank.
    """

    dtype: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any shape"
        return f"{self.dtype} [{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class SignatureInfo:
    """One function of a model.

    Attributes:
        inputs: By name.
        outputs: By name.
        method_name: What the model says that it is for, e.g. `tensorflow/serving/predict`.
    """

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str

    def __str__(self) -> str:
        takes, gives = (
            ", ".join(f"{name} {info}" for name, info in tensors.items())
            for tensors in (self.inputs, self.outputs)
        )
        return f"{takes} -> {gives}"


@dataclass(frozen=True)
class Metadata:
    """What a version of a model says of itself.

    Attributes:
        name: Of the model.
        version: That answered.
        signatures: Its functions by name.
    """

    name: str
    version: int
    signatures: Mapping[str, SignatureInfo]


def read_metadata(content: Any) -> Metadata:
    """Reads the JSON of a metadata answer.

    Raises:
        KeyError, TypeError, ValueError: It is something else.
    """
    spec = content["model_spec"]
    definitions = content["metadata"]["signature_def"]["signature_def"]
    signatures = {
        name: SignatureInfo(
            _tensors(definition.get("inputs", {})),
            _tensors(definition.get("outputs", {})),
            definition.get("method_name", ""),
        )
        for name, definition in sorted(definitions.items())
        if definition.get("outputs")  # TensorFlow 2 lists the operation that initializes, too
        and name != "__saved_model_init_op"
    }
    return Metadata(spec["name"], int(spec["version"]), signatures)


def _tensors(content: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {name: _tensor(info) for name, info in sorted(content.items())}


def _tensor(info: Mapping[str, Any]) -> TensorInfo:
    dtype = _TYPES.get(info["dtype"], info["dtype"])
    shape = info.get("tensor_shape", {})
    if shape.get("unknown_rank"):
        return TensorInfo(dtype, None)
    sizes = [int(dim.get("size", 0)) for dim in shape.get("dim", ())]
    return TensorInfo(dtype, tuple(None if size < 0 else size for size in sizes))
