"""The report: executed notebooks as one HTML page that needs no network and no other file, and no script to be read.

``build_report(sections, output, title=..., subtitle=..., facts=...)`` is all there is to call.
"""

from __future__ import annotations

from masksr.report.notebooks import Section
from masksr.report.page import build_report

__all__ = ["Section", "build_report"]
