"""`python -m tfapp`."""

import sys

from tfapp.cli import main

sys.exit(main())
