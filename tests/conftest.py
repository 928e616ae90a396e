"""Nothing is shared between the test files but the environment they start in."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")  # no test opens a window
