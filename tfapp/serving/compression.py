"""Bodies in gzip, and answers for clients who say that they take it.

TensorFlow Serving never compresses an answer, and it takes longer than most models do: who wants
it for a slow network asks for it.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib

from tfapp.serving.http1 import HttpAnswer, HttpRequest
from tfapp.serving.status import invalid

INFLATED_LIMIT = 100 * 2**20  # bytes

_SMALLEST = 1024  # bytes: what goes in one packet anyway gains nothing
_LEVEL = 1  # the numbers of an answer are hardly smaller at the others, which take much longer
_GZIP = re.compile(
    r"(?:^|,)\s*(?:gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*(?P<quality>[01](?:\.\d{0,3})?)\s*)?(?:,|$)"
)


def is_zipped(request: HttpRequest) -> bool:
    """Tells whether the body of a request is said to be gzip."""
    return b"gzip" in request.headers.get(b"content-encoding", b"").lower()


def inflate(body: bytes) -> bytes:
    """Returns what a gzip body holds.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it is no gzip, not whole, or holds too much.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            inflated = file.read(INFLATED_LIMIT + 1)
    except EOFError:
        raise invalid("The gzip body ends before it is whole.") from None
    except (OSError, zlib.error) as error:
        raise invalid(f"The body is not gzip, as its Content-Encoding says: {error}.") from None
    if len(inflated) > INFLATED_LIMIT:
        raise invalid(f"The gzip body holds more than {INFLATED_LIMIT} bytes.")
    return inflated


def is_worth_it(request: HttpRequest, answer: HttpAnswer) -> bool:
    """Tells whether an answer is to be compressed: the client takes it, and it is not small."""
    if len(answer.body) < _SMALLEST:
        return False
    accepted = request.headers.get(b"accept-encoding", b"").decode("latin-1").lower()
    found = _GZIP.search(accepted)
    return found is not None and float(found["quality"] or 1) > 0


def compressed(answer: HttpAnswer) -> HttpAnswer:
    """Returns an answer in gzip."""
    packed = gzip.compress(answer.body, _LEVEL, mtime=0)
    added = ((b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding"))
    return HttpAnswer(answer.status, packed, answer.headers + added)
