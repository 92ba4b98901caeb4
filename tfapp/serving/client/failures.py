"""How a request to a server fails.

ServingError                 1  the server's code and its text; a hint may follow
├── NotServed                4  NOT_FOUND: the server has no such model, version or signature
└── Unreachable              4  UNAVAILABLE: no model server answered there
"""

from __future__ import annotations

from tfapp.errors import ExitCode
from tfapp.serving.status import Code, ServingError


class NotServed(ServingError):
    """The server answered that it does not have the model or the version."""

    exit_code = ExitCode.MISSING

    def __init__(self, message: str) -> None:
        super().__init__(Code.NOT_FOUND, message)


class Unreachable(ServingError):
    """Nothing that is a model server answered."""

    exit_code = ExitCode.MISSING

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


def failure(code: Code, text: str, hint: str = "") -> ServingError:
    """Returns the error of a server's answer.

    Args:
        code: Of the answer.
        text: What the server says; it comes first and unchanged, for those who match on it.
        hint: A sentence that follows.
    """
    message = f"{text.rstrip('.')}. {hint}" if hint else text
    return NotServed(message) if code is Code.NOT_FOUND else ServingError(code, message)


def wants_hint(code: Code, text: str) -> bool:
    """Tells whether an error does not say yet what there is instead.

    TensorFlow Serving never does, and ends without a full stop; `tfapp serve` does.
    """
    return code is Code.NOT_FOUND and not text.endswith(".")
