"""The page as PDF, printed by headless Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from masksr.io import MasksrError, write_atomic

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def find_chromium() -> str:
    """Return the program that CHROMIUM names, else the first of ``NAMES`` on the PATH. Raises MasksrError."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else NAMES
    if program := next(filter(None, map(shutil.which, names)), None):
        return program
    raise MasksrError(
        f"the PDF is printed by Chromium, and {' or '.join(names)} is no program that can be started; "
        "install one (on Debian and Ubuntu: apt install chromium), or name it: make pdf CHROMIUM=/path/chrome"
    )


def run_chromium(page: Path, *options: str) -> str:
    """Open ``page`` without a window and return what Chromium says. Raises MasksrError."""
    program = find_chromium()
    options += ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()  # root has none
    with tempfile.TemporaryDirectory(prefix="masksr-chromium-", ignore_cleanup_errors=True) as profile:
        quiet = ["--headless=new", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
        command = [program, *quiet, *options, page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MasksrError(f"{program} could not open {page} ({error})") from None
    return done.stdout + done.stderr


def write_pdf(page: Path, output: Path) -> None:
    """Print ``page``, a file that loads nothing, to ``output``. Raises MasksrError where that fails."""
    if not page.is_file():
        raise MasksrError(f"{page} does not exist yet; make it with: make report")
    with tempfile.TemporaryDirectory(prefix="masksr-pdf-", ignore_cleanup_errors=True) as folder:
        printed = Path(folder, "page.pdf")
        said = run_chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
        if not printed.is_file():
            raise MasksrError(f"Chromium printed no PDF: {said.strip()[-300:]}")
        write_atomic(output, printed.read_bytes())
