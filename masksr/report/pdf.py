"""The page as PDF, printed by Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from masksr.errors import MasksrError
from masksr.files import write_atomic

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 300
# Nothing but what was asked for: no network, no window, no first-run pages.
QUIET = (
    "--headless=new",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
)


def chromium() -> str:
    """The program that the variable CHROMIUM names, else the first of ``NAMES`` on the PATH. Raises MasksrError."""
    if named := os.environ.get("CHROMIUM"):
        if found := shutil.which(named):
            return found
        raise MasksrError(f"CHROMIUM names {named}, which is no program that could be started")
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    raise MasksrError(
        f"the PDF is printed by Chromium, and none of {', '.join(NAMES)} is on the PATH; install one (on Debian and "
        "Ubuntu: apt install chromium), or name it: make pdf CHROMIUM=/path/to/chrome"
    )


def flags() -> list[str]:
    """What every headless start is given; root has no sandbox to start in."""
    return [*QUIET, *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])]


def write_pdf(page: Path, output: Path) -> None:
    """Print ``page``, a file that loads nothing, to ``output``. Raises MasksrError where that fails."""
    if not page.is_file():
        raise MasksrError(f"{page} does not exist yet; make it with: make report")
    program = chromium()
    with tempfile.TemporaryDirectory(prefix="masksr-pdf-", ignore_cleanup_errors=True) as folder:
        printed = Path(folder, "page.pdf")  # beside its profile: some packages of Chromium may not write elsewhere
        asked = ["--no-pdf-header-footer", "--generate-pdf-document-outline", f"--print-to-pdf={printed}"]
        command = [program, *flags(), f"--user-data-dir={folder}/profile", *asked, page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except OSError as error:
            raise MasksrError(f"{program} cannot be started ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise MasksrError(f"{program} did not finish printing within {SECONDS} s") from None
        if not printed.is_file() or not printed.read_bytes().startswith(b"%PDF"):
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise MasksrError(f"{program} printed no PDF: {said[:300]}")
        write_atomic(output, printed.read_bytes())
