"""Nothing is shared between the test files but the environment they start in."""

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")  # no test opens a window

# No deadline, because the first example pays for imports; the same examples on every run of CI.
settings.register_profile("masksr", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("masksr")
