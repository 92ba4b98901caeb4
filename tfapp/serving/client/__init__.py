"""A model behind TensorFlow Serving's interfaces, asked as if it were here.

    from tfapp.serving.client import connect

    with connect("http://localhost:8501/v1/models/digits") as model:
        print(model.signature())
        answer = model.predict(images, outputs=["probabilities"])

`grpc://localhost:8500/digits` gives an object that answers the same. REST needs NumPy only; gRPC
imports TensorFlow, which takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.serving.client.address import is_url as is_url
    from tfapp.serving.client.connection import connect as connect
    from tfapp.serving.client.failures import NotServed as NotServed
    from tfapp.serving.client.failures import Unreachable as Unreachable
    from tfapp.serving.client.served import ServedModel as ServedModel
    from tfapp.serving.client.signatures import Metadata as Metadata
    from tfapp.serving.client.signatures import SignatureInfo as SignatureInfo
    from tfapp.serving.client.signatures import TensorInfo as TensorInfo

_MODULES = {
    "address": ("is_url",),
    "connection": ("connect",),
    "failures": ("NotServed", "Unreachable"),
    "served": ("ServedModel",),
    "signatures": ("Metadata", "SignatureInfo", "TensorInfo"),
}

__getattr__, __all__ = lazy_names(__name__, _MODULES)
