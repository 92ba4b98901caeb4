"""What a served model can be asked, whichever protocol it is asked by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from tfapp.errors import UnknownName, UsageError
from tfapp.serving.client.address import Address
from tfapp.serving.client.signatures import Metadata, SignatureInfo
from tfapp.serving.client.values import Array, as_input
from tfapp.serving.models import DEFAULT_SIGNATURE, VersionStatus

Example = Mapping[str, Any]
Inputs = Mapping[str, Any] | Any

# A connection that was refused or lost before a byte came back (by gRPC: an answer) is tried again
# after so many seconds. Requests change nothing on a server, so one that arrived after all does no
# harm.
PAUSES_S = (0.1, 0.4)


class ServedModel(ABC):
    """A model behind a server; made by `connect`.

    Every method raises a `ServingError` with the server's code and text when the server refuses,
    `NotServed` when it does not have the model, `Unreachable` when nothing that is a model server
    answers, and `DEADLINE_EXCEEDED` when that takes too long. Threads may share one.

    Attributes:
        address: Where it is.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._metadata: Metadata | None = None

    @property
    def url(self) -> str:
        """Where it is, as a URL."""
        return str(self.address)

    def predict(
        self,
        inputs: Inputs,
        *,
        signature_name: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Array]:
        """Returns the outputs of a signature.

        Args:
            inputs: Arrays (or lists) by the names of the inputs; of a signature with one input,
                the array alone. They are whole batches, and are cast to the signature's types
                where that changes no value but by rounding to its floats.
            signature_name: Which function of the model.
            outputs: Names of the outputs that are wanted; all when omitted. The embedded server
                of tfapp computes only those.

        Returns:
            Arrays by name; strings are `object` arrays of bytes.

        Raises:
            UnknownName: There is no signature, input or output of that name.
            UsageError: Values that the signature's types cannot hold.
            ServingError: See the class.
        """
        signature = self.signature(signature_name)
        named = _named(inputs, signature)
        wanted = list(signature.outputs) if outputs is None else list(outputs)
        for name in wanted:
            if name not in signature.outputs:
                raise UnknownName("output", name, signature.outputs)
        return self._predict(named, signature_name, signature, wanted)

    @abstractmethod
    def classify(
        self,
        examples: Sequence[Example],
        *,
        signature_name: str = DEFAULT_SIGNATURE,
        context: Example | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Returns the labels and scores of each example.

        Args:
            examples: Features by name, as a `tf.train.Example` holds them: numbers or texts,
                alone, in lists or in arrays. `1` is an integer and `1.0` is not.
            signature_name: A signature that takes serialized examples; `classify` in the exports
                of tfapp.
            context: Features that all examples have.
        """

    @abstractmethod
    def regress(
        self,
        examples: Sequence[Example],
        *,
        signature_name: str = DEFAULT_SIGNATURE,
        context: Example | None = None,
    ) -> Array:
        """Returns the value of each example, `[N]` float32; arguments as of `classify`."""

    @abstractmethod
    def status(self) -> tuple[VersionStatus, ...]:
        """Returns the versions that the server knows, newest first."""

    def metadata(self) -> Metadata:
        """Asks the server what the model takes and gives now."""
        self._metadata = self._ask_metadata()
        return self._metadata

    def signature(self, name: str = DEFAULT_SIGNATURE) -> SignatureInfo:
        """Returns one function of the model. The server is asked only for what is not known yet.

        Raises:
            UnknownName: The model has none of that name.
            ServingError: See the class.
        """
        if self._metadata is None or name not in self._metadata.signatures:
            self.metadata()
        assert self._metadata is not None
        if name not in self._metadata.signatures:
            raise UnknownName("signature", name, self._metadata.signatures)
        return self._metadata.signatures[name]

    @abstractmethod
    def close(self) -> None:
        """Gives the connection back; the next request opens another."""

    def __enter__(self) -> ServedModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _predict(
        self,
        inputs: Mapping[str, Array],
        signature_name: str,
        signature: SignatureInfo,
        outputs: Sequence[str],
    ) -> dict[str, Array]: ...

    @abstractmethod
    def _ask_metadata(self) -> Metadata: ...


def _named(inputs: Inputs, signature: SignatureInfo) -> dict[str, Array]:
    if not isinstance(inputs, Mapping):
        if len(signature.inputs) != 1:
            raise UsageError(
                f"the signature has the inputs {', '.join(signature.inputs) or 'none'}; give a"
                " dictionary of arrays by these names."
            )
        inputs = dict.fromkeys(signature.inputs, inputs)
    for name in inputs:
        if name not in signature.inputs:
            raise UnknownName("input", str(name), signature.inputs)
    return {name: as_input(value, signature.inputs[name], name) for name, value in inputs.items()}
