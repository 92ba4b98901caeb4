"""Requests that no honest client sends: bodies, protos and raw bytes, the same in every process."""

from __future__ import annotations

import gzip
import json
from typing import Any

from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

MODEL = "hostile"
# Of the model, each an echo of `x` of any shape, and one of `a` and `b` that adds them.
SIGNATURES = ("floats", "integers", "texts", "bools", "several")
_DEEP = 500_000
_NAMES = ("x", "a", "b", "b64", "instances", "inputs", "signature_name", "output_filter", "y", "")
_DTYPES = sorted(types_pb2.DataType.values())

_ODD_NUMBERS = (
    "0", "-0", "1", "1.0", "-1", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "-Infinity", "Inf",
    "2147483648", "9223372036854775808", "18446744073709551616", "1" * 400, "0." + "1" * 400, "01",
    "1.", ".5", "+1", "--1", "1e", "0x10", "1_000",
)  # fmt: skip
_ODD_TEXTS = (
    '""', '"a"', '"\\u0000"', '"\0"', '"\\ud800"', '"\\ud800\\udc00"', '"\\udc00"', '"\\x"',
    '"\\u12', '"\\n"', '"\n"', '"é"', '"AA=="', '"A"', '"-_"', '"serving_default"', '"floats"',
)  # fmt: skip
_LEAVES = (
    *_ODD_NUMBERS,
    *_ODD_TEXTS,
    "true",
    "false",
    "null",
    "tru",
    '{"b64": "AA=="}',
    "{}",
    "[]",
)


def bodies() -> st.SearchStrategy[bytes]:
    """Bodies of predict, classify and regress requests; most of them are nearly right."""
    values = st.recursive(st.sampled_from(_LEAVES), _containers, max_leaves=12)
    rows = st.lists(values, max_size=5).map(_listed)
    named = st.lists(_members(("x", "a", "b", "z"), values), max_size=4).map(_listed)
    heads = st.sampled_from(
        ["", *(f'"signature_name": "{name}", ' for name in (*SIGNATURES, "none"))]
    )
    keys = st.sampled_from(("instances", "inputs", "examples"))
    documents = st.builds(
        lambda head, key, value: f'{{{head}"{key}": {value}}}',
        heads,
        keys,
        st.one_of(rows, named, values, _members(("x", "a", "b"), values)),
    )
    right = st.builds(
        lambda key, numbers: f'{{"{key}": {numbers}}}',
        st.sampled_from(("instances", "inputs")),
        st.lists(st.lists(st.floats(), min_size=2, max_size=2), min_size=1, max_size=3),
    )
    texts = st.one_of(documents, documents, right, _members(_NAMES, values), values)
    encoded = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    # Longer bodies are read in another way.
    long = st.builds(lambda body: body + b" " * 1100, st.one_of(encoded, _mutated(encoded)))
    return st.one_of(encoded, _mutated(encoded), long, st.binary(max_size=100))


def messages() -> st.SearchStrategy[bytes]:
    """Bytes of `PredictRequest`s, most of which can be parsed."""
    names = st.sampled_from(("x", "a", "b", "z", ""))
    requests = st.builds(
        _request,
        st.sampled_from((MODEL, MODEL, MODEL, "none", "")),
        st.sampled_from(("", *SIGNATURES, "none")),
        st.dictionaries(names, tensors(), max_size=3),
    )
    likely = st.builds(
        lambda signature, proto: _request(MODEL, signature, {"x": proto}),
        st.sampled_from(("", *SIGNATURES[:4])),
        tensors(),
    )
    return st.one_of(likely, likely, _right_messages(), requests, _mutated(requests))


def tensors() -> st.SearchStrategy[dict[str, Any]]:
    """Fields of `TensorProto`s that contradict one another more often than not."""
    sizes = st.one_of(
        st.integers(-2, 5), st.sampled_from((2**20, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63)))
    )
    fields = {
        "float_val": st.lists(st.floats(width=32), max_size=8),
        "double_val": st.lists(st.floats(), max_size=8),
        "int_val": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=8),
        "int64_val": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=8),
        "uint32_val": st.lists(st.integers(0, 2**32 - 1), max_size=8),
        "uint64_val": st.lists(st.integers(0, 2**64 - 1), max_size=8),
        "half_val": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=8),
        "scomplex_val": st.lists(st.floats(width=32), max_size=7),
        "bool_val": st.lists(st.booleans(), max_size=8),
        "string_val": st.lists(st.binary(max_size=8), max_size=8),
        "tensor_content": st.binary(max_size=64),
    }
    return st.fixed_dictionaries(
        {
            "dtype": st.sampled_from((*_DTYPES, 1, 1, 3, 7, 7, 9, 10, 999, 2**31 - 1)),
            "dims": st.one_of(
                st.lists(sizes, max_size=4),
                st.integers(30, 70).map(lambda rank: [1] * rank),
                st.integers(30, 300).map(lambda rank: [0] * rank),
            ),
            "unknown_rank": st.sampled_from((False, False, False, True)),
        },
        optional=fields,
    )


def large_bodies() -> dict[str, bytes]:
    """Bodies that are small on the wire, or plain to write, and large to read."""
    return {
        "nothing": b"",
        "nested lists": b'{"a": ' + b"[" * _DEEP + b"]" * _DEEP + b', "instances": [1]}',
        "nested instances": b'{"instances": ' + b"[" * _DEEP + b"]" * _DEEP + b"}",
        "nested objects": b'{"a": ' * _DEEP + b"1" + b"}" * _DEEP,
        "unclosed lists": b'{"instances": ' + b"[" * _DEEP,
        "a million digits": b'{"instances": [' + b"1" * 10**6 + b"]}",
        "a million decimals": b'{"instances": [0.' + b"1" * 10**6 + b", NaN]}",
        "a million digits of exponent": b'{"instances": [1e' + b"1" * 10**6 + b", NaN]}",
        "a million empty lists": b'{"instances": [' + b"[]," * 10**6 + b"[]]}",
        "a long list among short ones": (
            b'{"instances": [[' + b"0," * 10**6 + b"0]" + b",[0]" * 10**6 + b"]}"
        ),
        "ragged, of an even number": b'{"instances": ['
        + b"[1, 2],[3],[4, 5, 6]," * 10**5
        + b"[7, 8]]}",
        "ragged at the end": b'{"instances": [' + b"[1]," * 10**5 + b"[1, 2]]}",
        "a string among numbers": b'{"instances": [' + b"0," * 10**5 + b'"' + b"a" * 10**5 + b'"]}',
        "a number among names": b'{"output_filter": [0], "instances": ['
        + b"0," * 10**5
        + b'"'
        + b"a" * 10**5
        + b'"]}',
        "a string among bools": b'{"signature_name": "bools", "instances": ['
        + b"true," * 10**5
        + b'"'
        + b"a" * 10**5
        + b'"]}',
        "many keys": json.dumps({f"key {n}": n for n in range(10**5)}).encode(),
        "one key many times": b"{" + b'"instances": [1],' * 10**5 + b'"instances": [1]}',
        "33 dimensions of text": b'{"signature_name": "texts", "inputs": '
        + b"[" * 33
        + b'"a"'
        + b"]" * 33
        + b"}",
        "NUL inside": b'{"instances": [1\0]}',
        "NUL after": b'{"instances": [1]}\0',
        "UTF-16": '{"instances": [1]}'.encode("utf-16"),
        "BOM": b'\xef\xbb\xbf{"instances": [1]}',
        "wrong UTF-8": b'{"signature_name": "\xff\xfe", "instances": [1]}',
        "surrogate": b'{"signature_name": "\\ud800", "instances": [1]}',
        "wrong base64": b'{"signature_name": "texts", "instances": [{"b64": "*"}]}',
        "base64 of a number": b'{"signature_name": "texts", "instances": [{"b64": 1}]}',
    }


def gzip_bodies() -> dict[str, bytes]:
    """Bodies to send with `Content-Encoding: gzip`."""
    lists = b'{"instances": [' + b"[]," * 10**6 + b"[]]}"
    return {
        "gzip of 110 MB": gzip.compress(b" " * 110 * 2**20, 9),
        "gzip of 3 MB of lists": gzip.compress(lists, 9),
        "gzip of 30 MB with NaN": gzip.compress(
            b'{"instances": [' + b"[0.5]," * 5 * 10**6 + b"[NaN]]}", 9
        ),
        "gzip of 30 MB with a mistake at its end": gzip.compress(
            b'{"instances": [' + b"[0.5]," * 5 * 10**6 + b"[0.5] [0.5]]}", 9
        ),
        "gzip of 100,000 members": gzip.compress(b"") * 10**5,
        "gzip of gzip": gzip.compress(gzip.compress(b'{"instances": [1]}')),
        "gzip cut": gzip.compress(b'{"instances": [1]}')[:-3],
        "gzip of another sum": gzip.compress(b'{"instances": [1]}')[:-8] + b"\0" * 8,
        "no gzip": b'{"instances": [1]}',
    }


def large_messages() -> dict[str, bytes]:
    """`PredictRequest`s that ask for more memory than they have bytes."""

    def asked(signature: str, dtype: int, dims: list[int], **fields: Any) -> bytes:
        return _request(MODEL, signature, {"x": {"dtype": dtype, "dims": dims, **fields}})

    return {
        "4 GB of one float": asked("floats", 1, [2**30], float_val=[1.0]),
        "2 GB of bools": asked("bools", 10, [2**31 - 1]),
        "1 GB of one text": asked("texts", 7, [10**6], string_val=[b"a" * 1000]),
        "16 EB": asked("floats", 1, [2**62], float_val=[1.0]),
        "overflow": asked("floats", 1, [2**62, 2**62], float_val=[1.0]),
        "overflow of nothing": asked("floats", 1, [0, 2**62, 2**62]),
        "nothing of overflow": asked("texts", 7, [2**62, 2**62, 0]),
        "33 dimensions of text": asked("texts", 7, [1] * 33, string_val=[b"a"]),
        "254 dimensions": asked("floats", 1, [1] * 254, float_val=[1.0]),
        "300 dimensions": asked("floats", 1, [1] * 300, float_val=[1.0]),
        "variant": asked("floats", 21, [1]),
        "resource": asked("floats", 20, [1]),
        "lengths of strings": asked("texts", 7, [2], tensor_content=b"\xff\xff\xff\xff\x7f" * 2),
    }


def raw_requests(path: str, body: bytes) -> dict[str, bytes]:
    """What is no HTTP, or HTTP that two programs may read in two ways.

    Args:
        path: Of a POST that is right.
        body: Its body.
    """
    line = f"POST {path} HTTP/1.1\r\nhost: a\r\n".encode()
    length = f"content-length: {len(body)}\r\n".encode()
    smuggled = b"GET /healthz HTTP/1.1\r\n\r\n"
    chunked = b"transfer-encoding: chunked\r\n"
    return {
        "both lengths": line + length + chunked + b"\r\n0\r\n\r\n" + smuggled,
        "two lengths": line + length + b"content-length: 0\r\n\r\n" + smuggled,
        "negative length": line + b"content-length: -1\r\n\r\n" + body,
        "length of 2^64": line + b"content-length: 18446744073709551616\r\n\r\n" + body,
        "length as hexadecimal": line + b"content-length: 0x10\r\n\r\n" + body,
        "length with plus": line + b"content-length: +10\r\n\r\n" + body,
        "chunked twice": line
        + chunked
        + b"transfer-encoding: identity\r\n\r\n0\r\n\r\n"
        + smuggled,
        "chunked not last": line + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + smuggled,
        "chunk of wrong size": line + chunked + b"\r\nzz\r\nabc\r\n0\r\n\r\n",
        "chunk of huge size": line + chunked + b"\r\nffffffffffffffffff\r\nabc",
        "chunk too short": line + chunked + b"\r\n1\r\nabcdef\r\n0\r\n\r\n" + smuggled,
        "space before colon": line + b"content-length : 4\r\n\r\nabcd",
        "folded header": line + b"x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
        "header without name": line + b": a\r\n\r\n",
        "NUL in a header": line + b"x-a: a\0b\r\n\r\n",
        "bare line feeds": line.replace(b"\r\n", b"\n") + length.replace(b"\r", b"") + b"\n" + body,
        "bare carriage returns": line.replace(b"\r\n", b"\r") + b"\r\r",
        "no version": b"GET /healthz\r\n\r\n",
        "version 9": b"GET /healthz HTTP/9.9\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100,
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        "CONNECT": b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        "OPTIONS *": b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "absolute URL": b"GET http://a/healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "URL of other bytes": b"GET /v1/models/\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
        "URL with NUL": b"GET /v1/models/%00 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "URL of wrong UTF-8": b"GET /v1/models/%ff HTTP/1.1\r\nconnection: close\r\n\r\n",
        "URL of 10 kB": b"GET /" + b"a" * 10**4 + b" HTTP/1.1\r\nconnection: close\r\n\r\n",
        "URL of 1 MB": b"GET /" + b"a" * 10**6 + b" HTTP/1.1\r\nconnection: close\r\n\r\n",
        "10,000 headers": line + b"x-a: b\r\n" * 10**4 + b"connection: close\r\n\r\n",
        "100,000 headers": line + b"x-a: b\r\n" * 10**5 + b"connection: close\r\n\r\n",
        "unknown method": b"BREW /v1/models/a HTTP/1.1\r\n\r\n",
        "method of 1 MB": b"A" * 10**6,
        "only line feeds": b"\r\n" * 10**4,
        "zeros": b"\0" * 10**4,
        "half a request": line + length + b"\r\n" + body[:-1],
        "half a head": line[:-4],
    }


def _right_messages() -> st.SearchStrategy[bytes]:
    """Requests that are answered, though fewer or more values come than the shape has."""
    kinds = st.sampled_from(
        (
            ("floats", 1, {"float_val": [1.0, 2.0]}),
            ("integers", 3, {"int_val": [1, -1, 2]}),
            ("texts", 7, {"string_val": [b"a", b"\xff"]}),
            ("bools", 10, {"bool_val": [True]}),
            ("floats", 1, {}),
            ("texts", 7, {}),
        )
    )
    shapes = st.one_of(
        st.lists(st.integers(0, 3), max_size=5),
        st.integers(1, 32).map(lambda rank: [1] * rank),
        st.integers(1, 32).map(lambda rank: [0] * rank),
    )

    def request(kind: tuple[str, int, dict[str, Any]], dims: list[int]) -> bytes:
        return _request(MODEL, kind[0], {"x": {"dtype": kind[1], "dims": dims, **kind[2]}})

    return st.builds(request, kinds, shapes)


def _containers(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    lists = st.lists(values, max_size=4).map(_listed)
    return st.one_of(lists, _members(_NAMES, values))


def _members(names: tuple[str, ...], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    # Names may come twice.
    members = st.lists(st.tuples(st.sampled_from(names), values), max_size=4)
    return members.map(_object)


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in members) + "}"


def _listed(texts: list[str]) -> str:
    return f"[{', '.join(texts)}]"


def _mutated(contents: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Cuts, changes and repeats some bytes."""
    return st.builds(
        _mutate, contents, st.integers(0, 2**16), st.integers(0, 3), st.binary(max_size=4)
    )


def _mutate(content: bytes, place: int, how: int, put: bytes) -> bytes:
    at = place % (len(content) + 1)
    if how == 0:
        return content[:at]
    if how == 1:
        return content[:at] + put + content[at:]
    if how == 2:
        return content[:at] + put + content[at + len(put) :]
    return content[:at] + content[at // 2 :]


def _request(model: str, signature: str, inputs: dict[str, dict[str, Any]]) -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, fields in inputs.items():
        proto = request.inputs[name]
        proto.dtype = fields["dtype"]
        proto.tensor_shape.unknown_rank = fields.get("unknown_rank", False)
        for size in fields["dims"]:
            proto.tensor_shape.dim.add(size=size)
        for field, value in fields.items():
            if field == "tensor_content":
                proto.tensor_content = value
            elif field.endswith("_val"):
                getattr(proto, field).extend(value)
    return request.SerializeToString(deterministic=True)
