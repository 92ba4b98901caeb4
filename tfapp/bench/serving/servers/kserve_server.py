"""A model behind KServe's server, as its documentation shows for models of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import kserve
import numpy as np
import tensorflow as tf


class Mine(kserve.Model):
    """Answers `:predict` of version 1 of KServe's protocol.

    Args:
        folder: Of the versions of a model.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.name)
        self._folder = folder
        self.load()

    def load(self) -> bool:
        """Loads the model."""
        self._model = tf.saved_model.load(str(self._folder / "1"))
        self._predict = self._model.signatures["serving_default"]
        (self._name,) = self._predict.structured_input_signature[1]
        self.ready = True
        return self.ready

    async def predict(
        self,
        payload: dict[str, Any],
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Returns what is answered."""
        rows = np.array(payload["instances"], np.float32)
        (outputs,) = self._predict(**{self._name: tf.constant(rows)}).values()
        return {"predictions": outputs.numpy().tolist()}


def main() -> None:
    """Serves until it is ended."""
    server = kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False)
    server.start([Mine(Path(sys.argv[2]))])


if __name__ == "__main__":
    main()
