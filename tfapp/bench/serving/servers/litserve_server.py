"""A model behind LitServe, as its documentation shows."""

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from fastapi import Request


class Api(litserve.LitAPI):
    """Loads the model in the process that computes, and answers with its outputs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def setup(self, device: str) -> None:
        """Loads the model."""
        import tensorflow as tf

        self._model = tf.saved_model.load(str(self._folder / "1"))
        self._predict = self._model.signatures["serving_default"]
        (self._name,) = self._predict.structured_input_signature[1]
        self._constant = tf.constant

    def decode_request(self, request: Request) -> Any:
        """Returns the rows of a request; with this type LitServe gives the content of its JSON."""
        content: Any = request
        return np.array(content["instances"], np.float32)

    def predict(self, rows: Any) -> Any:
        """Returns the outputs."""
        (outputs,) = self._predict(**{self._name: self._constant(rows)}).values()
        return outputs.numpy()

    def encode_response(self, outputs: Any) -> dict[str, Any]:
        """Returns what is answered."""
        return {"predictions": outputs.tolist()}


def main() -> None:
    """Serves until it is ended."""
    server = litserve.LitServer(Api(Path(sys.argv[2])), accelerator="cpu")
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False
    )


if __name__ == "__main__":
    main()
