"""Nothing is shared between the test files but the environment they start in."""

import os
import signal

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")  # no test opens a window

# A shell lets what it starts with & ignore Ctrl-C, and the children of that too: tests send it to theirs.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline, because the first example pays for imports; the same examples on every run of CI.
settings.register_profile("masksr", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("masksr")
