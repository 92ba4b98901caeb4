"""A model behind FastAPI and uvicorn, as it is written by hand."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import uvicorn
from fastapi import FastAPI, Request

Handler = Callable[[Request], Awaitable[dict[str, Any]]]


def handler(folder: Path) -> Handler:
    """Loads a model, and returns what answers its requests."""
    model = tf.saved_model.load(str(folder / "1"))
    predict = model.signatures["serving_default"]
    (name,) = predict.structured_input_signature[1]

    async def handle(request: Request) -> dict[str, Any]:
        body = await request.json()
        rows = np.array(body["instances"], np.float32)
        (outputs,) = predict(**{name: tf.constant(rows)}).values()
        return {"predictions": outputs.numpy().tolist()}

    return handle


def main() -> None:
    """Serves until it is ended."""
    app = FastAPI()
    for folder in map(Path, sys.argv[2:]):
        route = f"/v1/models/{folder.name}:predict"
        app.add_api_route(route, handler(folder), methods=["POST"], response_model=None)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")


if __name__ == "__main__":
    main()
