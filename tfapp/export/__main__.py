"""The process that an export is read back in: `python -m tfapp.export FOLDER`.

Writes the largest difference of each signature as JSON to stdout, or one sentence to stderr.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tfapp.errors import ExportError
from tfapp.export.verification import largest_differences


def main() -> None:
    """Answers, or ends with a sentence."""
    try:
        sys.stdout.write(json.dumps(largest_differences(Path(sys.argv[1]))) + "\n")
    except ExportError as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
