"""Asks a model by REST, with nothing but Python's standard library.

python rest_client.py http://localhost:8501/v1/models/digits-mlp rows.json

rows.json is {"instances": [...]}: one entry an example. Prints one prediction a line.
"""

import json
import sys
import urllib.error
import urllib.request


class ModelError(Exception):
    """What the server says of a request that it refuses."""


def predict(model: str, instances: list, timeout_s: float = 30.0) -> list:
    """Returns the prediction for each instance.

    Args:
        model: URL of the model; /versions/N or /labels/NAME may follow.
        instances: One entry an example; the model's metadata, at {model}/metadata, tells of what.
        timeout_s: Longest wait for an answer.
    """
    body = json.dumps({"instances": instances}).encode()
    request = urllib.request.Request(f"{model}:predict", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        # 400 and 404: correct the request. 503: the server is full, ask again later.
        raise ModelError(f"HTTP {error.code}: {error.read().decode()}") from error


if __name__ == "__main__":
    url, file = sys.argv[1:]
    with open(file, encoding="utf-8") as rows:
        content = json.load(rows)
    try:
        for prediction in predict(url, content["instances"]):
            print(json.dumps(prediction))
    except (ModelError, OSError) as error:
        sys.exit(f"{url}: {error}")
