"""``python -m srlib.cli``."""

import sys

from srlib.cli import main

sys.exit(main())
